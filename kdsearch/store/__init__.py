"""All that a study knows: its trials, its facts and its record, and who works on it."""
