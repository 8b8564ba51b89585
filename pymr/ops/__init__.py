"""Operating a cluster: init, start, stop, remote machines, a private Redis."""
