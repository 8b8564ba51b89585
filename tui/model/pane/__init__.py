"""The output of a worker: buffered, searched, saved, typed into."""
