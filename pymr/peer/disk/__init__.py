"""A peer's data folder: paths, lists, journals, uploads, and what of it others may read."""
