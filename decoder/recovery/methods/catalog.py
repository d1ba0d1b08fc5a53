"""All methods of repair by name."""

from __future__ import annotations

import difflib

from decoder.errors import RepairError
from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.path import Path
from decoder.recovery.methods import (
    boundary,
    bridge,
    down_projection,
    linear_patch,
    none,
    readers,
    replace_me,
    rotation,
    scalar,
    sequential,
)
from decoder.recovery.methods.method import Method

__all__ = ["METHODS", "admitted", "find_method"]

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        none.METHOD,
        *down_projection.METHODS,
        sequential.METHOD,
        *readers.METHODS,
        replace_me.METHOD,
        scalar.METHOD,
        *rotation.METHODS,
        bridge.METHOD,
        boundary.METHOD,
        linear_patch.METHOD,
        replace_me.PUBLISHED,
        scalar.PUBLISHED,
    )
}
"""In the order in which they are shown."""

_COMPARED = (replace_me.PUBLISHED, scalar.PUBLISHED)


def find_method(name: str) -> Method:
    """A method by its name.

    Raises:
        RepairError: there is none; the nearest names are suggested.
    """
    if name in METHODS:
        return METHODS[name]
    near = difflib.get_close_matches(name, METHODS, 3, 0.4) or list(METHODS)
    raise RepairError(f"method {name}: unknown; choose {', '.join(near)} or auto")


def admitted(
    anatomy: Anatomy, path: Path, *, untie: bool = False, module: bool = False
) -> tuple[str, ...]:
    """Names of the methods whose result is exact in stock weights, "none" first.

    A bridge is not among them: it keeps more than was asked for, and is chosen by name alone.

    Args:
        anatomy: of the model.
        path: what remains of it.
        untie: those too that give a tied head a weight of its own.
        module: those too whose matrices at the cuts stay beside stock weights.
    """
    return tuple(
        name
        for name, method in METHODS.items()
        if (method.stock or module)
        and method not in _COMPARED
        and method.variants is None
        and (untie or not method.head or not anatomy.tied)
        and method.refusal(anatomy, path) is None
    )
