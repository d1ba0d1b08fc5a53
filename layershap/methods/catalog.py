"""The published methods that a run can be compared with, found in the rooms that hold them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from layershap.errors import UserError
from layershap.methods.context import RunContext
from layershap.methods.discovery import discover
from shapley.baselines import Method

__all__ = ["BASELINES", "DEFAULTS", "find_baselines"]

BASELINES: tuple[Method[RunContext], ...] = discover(
    ("shapley.baselines", "decoder.baselines", "surrogate.baselines")
)
DEFAULTS = tuple(method for method in BASELINES if method.default is not None)
"""Those that every search is compared with."""


def find_baselines(names: Sequence[str]) -> tuple[Method[RunContext], ...]:
    """The methods of these names, slugs or other names, each once, in the order of the list.

    Raises:
        UserError: a name is unknown.
    """
    known = {
        word.lower(): method
        for method in BASELINES
        for word in (*method.also, method.name, method.slug)
    }
    for name in names:
        if name.lower() not in known:
            near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
            hint = f" (nearest: {known[near[0]].slug})" if near else ""
            raise UserError(
                f"--method {name}: unknown{hint}; choose all or "
                f"{', '.join(method.slug for method in BASELINES)}"
            )
    wanted = {known[name.lower()].name for name in names}
    return tuple(method for method in BASELINES if method.name in wanted)
