"""One file for each change of these tables."""
