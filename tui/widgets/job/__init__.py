"""The parts of screens that show one job."""
