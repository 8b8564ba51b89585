"""Lines, cells and strips: what widgets draw."""
