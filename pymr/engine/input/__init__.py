"""From folders to lines: files, splits, compression, records."""
