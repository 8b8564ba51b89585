"""Redis: its schema, scripts, the lease and writes."""
