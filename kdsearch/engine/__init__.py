"""Training one student, and its checkpoint."""
