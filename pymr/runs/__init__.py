"""A run as its user sees it: what is asked for, its phases, its display and its outcome."""
