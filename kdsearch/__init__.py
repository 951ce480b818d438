"""kdsearch finds the best tiny image classifier that fits a hard parameter budget."""
