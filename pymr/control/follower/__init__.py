"""Decisions of a peer about its orders: slots, shuffles, publications, reports."""
