"""Where a run stands, read from outside while it may be going on."""
