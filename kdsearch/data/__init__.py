"""Image sets: found, decoded once, split and kept in the cache."""
