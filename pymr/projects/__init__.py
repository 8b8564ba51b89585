"""The user's code: found, imported and packed; its names are read without running it."""
