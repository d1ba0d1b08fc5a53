"""What a model costs to run: time, memory, parameters."""
