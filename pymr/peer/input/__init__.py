"""What a run reads on this host: files, consumed lists, map tasks."""
