"""layershap."""
