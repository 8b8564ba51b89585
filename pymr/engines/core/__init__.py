"""What runs on external engines have in common: plan, map side, reduce side, commit."""
