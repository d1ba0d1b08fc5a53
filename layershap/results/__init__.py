"""What a run has found: typed, read and written in one place, without any framework."""
