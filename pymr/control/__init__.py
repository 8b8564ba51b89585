"""Decisions only: what the leader does next, and what a peer does with its orders. No sockets, no Redis, no clock."""
