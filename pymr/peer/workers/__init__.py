"""The daemon's side of its workers: the pool, their pipes, the fork server."""
