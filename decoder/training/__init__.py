"""Gradients through a model that is given back as it was."""
