"""cluster.toml: declared settings, their kinds, defaults and meaning, and TOML as text."""
