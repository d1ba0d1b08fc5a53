"""Somebody's own game: read, measured, valued and searched."""
