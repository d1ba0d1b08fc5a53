"""Parts of the benchmark of sets: known optima, large games, a real model's open game."""
