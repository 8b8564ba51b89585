"""The daemon that runs on every machine of a cluster."""
