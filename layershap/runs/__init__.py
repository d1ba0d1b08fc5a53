"""One run: its configuration, directory, plan, texts, and the session that works on it."""
