"""A job as TOML and as a type, and its documentation."""
