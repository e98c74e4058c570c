"""The sections of the open questions on the results page."""
