"""Image sets: finds, decodes and splits them once, and keeps them in the cache."""
