"""The stages of a run in their order, and what each is for."""

from __future__ import annotations

__all__ = ["STAGES"]

STAGES = {
    "measure": "sets of layers left out of the real model, on Ray",
    "fit": "a surrogate that predicts any set",
    "values": "what each layer is worth",
    "search": "sets to remove, measured and searched again",
    "verify": "on text that the search never saw, with speed",
    "report": "one page to look at",
}
