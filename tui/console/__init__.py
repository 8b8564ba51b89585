"""What all screens have in common, and what they may ask of the application."""
