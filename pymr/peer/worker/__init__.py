"""What runs inside a worker process: tasks, previews, the debugger, drivers of external engines."""
