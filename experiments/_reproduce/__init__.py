"""What the reproduction is made of: entries, the run, the results page."""
