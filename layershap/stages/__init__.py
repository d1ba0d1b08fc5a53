"""The stages of a run: each reads what the earlier ones wrote to the run directory."""
