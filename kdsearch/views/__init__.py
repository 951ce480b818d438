"""Views: augmented copies of the training set with the teacher's answers, made once, shared by all trials."""
