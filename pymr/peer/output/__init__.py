"""A run's output on one peer: published, read by others, and missing shares."""
