"""Decisions of the leader: which job runs next, what each peer is told."""
