"""The parts of screens. They show what they are given, and know no cluster."""
