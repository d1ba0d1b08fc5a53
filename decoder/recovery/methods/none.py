"""No repair: the set as it is, which every other method has to beat."""

from __future__ import annotations

from decoder.recovery.methods.method import Method

__all__ = ["METHOD"]

METHOD = Method("none", "deletion alone", lambda anatomy, path: None, lambda stream: None)
