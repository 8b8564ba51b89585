"""File transfers, step by step."""
