"""The questions that the paper leaves open, a study each."""
