"""Published methods that learn the game."""
