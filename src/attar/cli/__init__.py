"""Words typed and printed: the command line."""
