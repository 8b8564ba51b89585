"""The parts of screens that show a worker's output."""
