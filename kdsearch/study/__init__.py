"""The study file: its fixed and searched fields, and one trial's draw from them."""
