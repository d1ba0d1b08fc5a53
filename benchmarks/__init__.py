"""Benchmarks: `python -m benchmarks.NAME --json FILE` measures, prints a table, checks bars."""
