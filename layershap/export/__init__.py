"""Checkpoints of sets that a run has found, and what is written beside them."""
