"""What ends a command: bad input (exit status 2) and failed runs (exit status 1)."""

from __future__ import annotations

__all__ = ["RunFailed", "UserError"]


class UserError(ValueError):
    """The input is wrong; the message names the argument, the rule and the remedy."""


class RunFailed(RuntimeError):
    """The input was right, and the run could not be finished."""
