"""Bytes between machines: the data service and its clients."""
