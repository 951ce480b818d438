"""Views: augmented copies of the training set with the teachers' outputs, made once for all trials."""
