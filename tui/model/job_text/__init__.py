"""The text of a job while it is written: its problems, completions, differences."""
