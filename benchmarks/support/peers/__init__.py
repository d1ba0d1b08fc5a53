"""Other ways to value players, run on the same tables."""
