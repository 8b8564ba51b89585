"""Formats: keys, blocks, columns, the merge of sorted runs, and lists on disk."""
