"""A run directory as a Python object."""
