"""What leaves: the winner in forms that run without kdsearch, each loaded back and compared."""
