"""Workers on this machine, driven directly: how `pymr run` runs a job without a cluster."""
