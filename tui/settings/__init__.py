"""How the console is set: its file, keys, themes and options."""
