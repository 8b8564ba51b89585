"""What consoles ask of a peer: queries, commands, views, previews."""
