"""The search: trials, workers, and the processes they run in."""
