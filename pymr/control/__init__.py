"""Decisions only: what the leader does next, what a peer does with its orders. No sockets, Redis or clock."""
