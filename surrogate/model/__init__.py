"""The surrogate that people use: a regressor with intervals, scores and a place on the disk."""
