"""How sure values and rankings are, over samples and over text."""
