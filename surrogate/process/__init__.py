"""A Gaussian process on coalitions, and what follows from it in closed form."""
