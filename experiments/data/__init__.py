"""The data sets of the paper, read from the user's own copy."""
