"""What was measured, in one SQLite file that no crash can hurt. Never imports Ray."""
