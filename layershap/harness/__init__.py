"""lm-evaluation-harness on checkpoints, and tasks of one's own for it."""
