"""Exports the best student in forms that run without kdsearch, each loaded back and compared."""
