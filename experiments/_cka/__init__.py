"""CKA of semantic and spatio-semantic RSMs: networks, RSMs, comparisons, figures."""
