"""What experiments share: their command line, their files, intervals."""
