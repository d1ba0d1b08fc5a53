"""The methods of repair, one a file, and all of them by name in the catalog."""
