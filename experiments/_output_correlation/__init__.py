"""Similarity of representations against that of outputs: networks, measure, figures."""
