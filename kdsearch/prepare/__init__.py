"""What a study needs before its first trial: images, teacher, views, record."""
