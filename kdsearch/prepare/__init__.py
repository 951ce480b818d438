"""Prepares a study for its first trial: images, teacher, views, record."""
