"""What one looks at by itself: networks, views, the cache."""
