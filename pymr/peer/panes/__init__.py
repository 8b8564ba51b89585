"""The output of workers on disk, by byte offset and time."""
