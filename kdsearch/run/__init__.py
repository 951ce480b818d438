"""The processes of one machine: supervisor, preparing process, workers, mirror. No torch at import."""
