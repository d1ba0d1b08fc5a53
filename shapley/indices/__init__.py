"""Values and interactions of cheap games: exact ones, and Monte Carlo where those are too many."""
