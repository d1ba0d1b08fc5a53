"""Every decoder that transformers ships, made tiny, measured, exported and reloaded."""
