"""How a published method declares itself, and what it may ask of a run.

A method is declared beside its algorithm, as a constant of its module, and nowhere else::

    METHOD = Method(
        name="reverse order",
        source="the simple strategy of Gromov et al., arXiv 2403.17887",
        needs="nothing",
        kind="selects sets",
        run=run_reverse_order,
    )

Lists of methods are read from the text of the modules, so that listing them imports no framework:
what a declaration says must be written out as literals; only what runs may be any expression.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from shapley.baselines.found import Found
from shapley.baselines.parts import PartialGame
from shapley.game import Game

__all__ = ["OWN_UTILITY", "Kind", "Method", "MethodContext", "slug"]

Kind = Literal["selects sets", "edits", "routes"]

OWN_UTILITY = "utility"
"""What a method declares as its metric where the run's own utility guides it."""


class MethodContext(Protocol):
    """What a method may ask of a run."""

    @property
    def players(self) -> int:
        """Number of players."""
        ...

    @property
    def layers(self) -> Sequence[Sequence[int]]:
        """The layers that each player is, or is a part of."""
        ...

    @property
    def depth(self) -> int:
        """Layers of the model, those included that nobody plays."""
        ...

    @property
    def utility(self) -> str:
        """The metric that decides in this run."""
        ...

    @property
    def budget(self) -> int:
        """Evaluations that a method may spend which can spend any number."""
        ...

    @property
    def seed(self) -> int:
        """Seed of all random choices."""
        ...

    def game(self, metric: str, /) -> Game:
        """Returns the real model as a game of one measured metric; higher is better."""
        ...

    def parts(self, metric: str, /) -> PartialGame:
        """Returns the same on single sequences of the text."""
        ...


Context = TypeVar("Context", bound=MethodContext, contravariant=True)


@dataclass(frozen=True, kw_only=True)
class Method(Generic[Context]):
    """A published method.

    Attributes:
        name: what people read.
        source: where it was published.
        needs: what it asks of a run, for people.
        kind: whether it "selects sets" to remove, "edits" what stays as well, or "routes" each
            token through players of its own.
        run: finds a set for each of these counts of removed players.
        players: kinds of players that it is made for.
        metric: metric of the games that it asks for, which must be measured in the run;
            :data:`OWN_UTILITY` for the run's own; None where it asks for none.
        passes: whether it runs passes of its own through the model.
        spends: whether it can use any budget of evaluations.
        also: other names that people know it by.
        default: its place among the methods that every search is compared with, from 1; None for
            all others.
        price: evaluations that it takes for so many players and these counts, where that is known
            beforehand; for the time left.
        check: raises ValueError where the model or the counts rule it out.
    """

    name: str
    source: str
    needs: str
    kind: Kind
    run: Callable[[Context, Sequence[int]], Found]
    players: tuple[str, ...] = ("layers", "sublayers", "blocks")
    metric: str | None = None
    passes: bool = False
    spends: bool = False
    also: tuple[str, ...] = ()
    default: int | None = None
    price: Callable[[int, Sequence[int]], int] | None = None
    check: Callable[[Context, Sequence[int]], object] | None = None

    @property
    def slug(self) -> str:
        """Its name on the command line."""
        return slug(self.name)


def slug(name: str) -> str:
    """Write a method's name as the command line takes it: `block-influence`.

    Args:
        name: what people read.
    """
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
