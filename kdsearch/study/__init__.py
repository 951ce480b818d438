"""The study file: what is fixed, what is searched, and one trial's draw from it."""
