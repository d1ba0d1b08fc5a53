"""A run over HTTP: the server, the process that measures for it, and the application."""
