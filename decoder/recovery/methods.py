"""All methods of repair by name."""

from __future__ import annotations

import difflib

from decoder.errors import RepairError
from decoder.recovery import down_projection, none, replace_me, sequential
from decoder.recovery.anatomy import Anatomy
from decoder.recovery.method import Method
from decoder.recovery.path import Path

__all__ = ["METHODS", "admitted", "find_method"]

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        none.METHOD,
        *down_projection.METHODS,
        sequential.METHOD,
        replace_me.METHOD,
        replace_me.PUBLISHED,
    )
}
"""In the order in which they are shown."""


def find_method(name: str) -> Method:
    """A method by its name.

    Raises:
        RepairError: there is none; the nearest names are suggested.
    """
    if name in METHODS:
        return METHODS[name]
    near = difflib.get_close_matches(name, METHODS, 3, 0.4) or list(METHODS)
    raise RepairError(f"method {name}: unknown; choose {', '.join(near)} or auto")


def admitted(anatomy: Anatomy, path: Path) -> tuple[str, ...]:
    """Names of the methods whose result is exact in stock weights, "none" first.

    Args:
        anatomy: of the model.
        path: what remains of it.
    """
    return tuple(
        name
        for name, method in METHODS.items()
        if method.stock
        and name != replace_me.PUBLISHED.name
        and method.refusal(anatomy, path) is None
    )
