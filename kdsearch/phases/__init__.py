"""What is trained in a study, and how a trial of it is sampled, trained and judged."""
