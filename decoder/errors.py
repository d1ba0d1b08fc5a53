"""What can be wrong with a model or a text, each with one clear line."""

from __future__ import annotations

__all__ = ["ModelError", "RepairError", "TaskError", "TextError", "UnsupportedModel"]


class ModelError(ValueError):
    """The model cannot be loaded: the message names the argument, the rule and the remedy."""


class UnsupportedModel(ModelError):
    """The model loads, but its layers cannot be left out one by one."""


class TextError(ValueError):
    """The calibration or held-out text cannot be used."""


class RepairError(ValueError):
    """The model, the edits or the text do not admit a repair, or not this one."""


class TaskError(ValueError):
    """The multiple-choice items cannot be used."""
