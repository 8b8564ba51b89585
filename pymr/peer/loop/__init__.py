"""The event loop of the daemon, and the threads beside it."""
