"""Measuring on Ray actors: sessions, workers, chunks of work, and what became of them."""
