"""Decisions about runs: plan, tasks, recovery, publication, end."""
