"""One machine's data path: from an input line to an output file."""
