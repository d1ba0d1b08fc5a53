"""Masked evaluation: many coalitions in one walk over shared prefixes."""
