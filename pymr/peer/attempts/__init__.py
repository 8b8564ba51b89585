"""Attempts at tasks and steps, done so that they count; what a daemon and its workers say to each other."""
