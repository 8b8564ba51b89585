"""The command `pymr`: its commands and their tables."""
