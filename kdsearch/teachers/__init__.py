"""Teachers: trained or read, kept with the study, scored by themselves."""
