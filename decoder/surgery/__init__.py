"""Smaller models for real: layers deleted, halves repacked, layers merged, checkpoints written."""
