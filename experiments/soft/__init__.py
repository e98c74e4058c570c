"""The parts of the studies of soft matching."""
