"""Sets to remove in somebody's game: searched with few evaluations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from layershap.errors import UserError
from layershap.games.measured_file import MeasuredFile
from layershap.games.metering import Meter, asked, check_deterministic
from layershap.results.set_text import parse_counts
from layershap.terminal.progress import Progress
from shapley.game import Game
from shapley.search import FoundSets, Limits, SetSearch

__all__ = ["SetRequest", "find_sets", "make_limits", "read_counts"]


@dataclass(frozen=True)
class SetRequest:
    """What is asked for.

    Attributes:
        counts: numbers of players to remove.
        budget: distinct coalitions that may be evaluated.
        seed: of every random choice.
        nested: whether every set must hold the smaller ones.
    """

    counts: tuple[int, ...]
    budget: int
    seed: int = 0
    nested: bool = False


def find_sets(
    game: Game,
    request: SetRequest,
    limits: Limits,
    *,
    where: str,
    file: MeasuredFile | None = None,
    update: Callable[[Progress], None] | None = None,
) -> FoundSets:
    """Measures a game within a budget and returns the best sets of every count.

    At the end the full coalition is asked for again, which is not counted.

    Args:
        game: any game.
        request: counts, budget and seed.
        limits: constraints on the sets.
        where: begins messages about the game, as ``--game module:name``.
        file: keeps what is measured and is gone on from.
        update: told of progress after every call.

    Raises:
        UserError: if the game fails or is not deterministic, the file is another's, or the limits
            are impossible.
    """
    from surrogate.process.belief import ProcessLearner

    search = asked(
        "--count",
        lambda: SetSearch(ProcessLearner(), request.counts, limits, nested=request.nested),
    )
    meter = Meter(game, request.budget, request.seed, file, update)
    meter.measure(search, request.budget)
    check_deterministic(game, meter.state, where)
    return search.result(meter.state)


def read_counts(text: str | None, limits: Limits) -> tuple[int, ...]:
    """Returns the counts of ``--count``: by default 1 to a third of the players, as limits allow.

    Raises:
        UserError: if it is no list of counts, or none can be removed.
    """
    n = limits.n
    possible = limits.counts_possible()
    if not possible:
        raise UserError(f"--protect: keeps all of the {n} players; name fewer")
    if text is None:
        return tuple(range(1, min(max(1, n // 3), possible[-1]) + 1))
    try:
        counts = tuple(parse_counts(text))
    except ValueError:
        raise UserError(f"--count {text}: not a list of counts; write 3, 1-4 or 2,4,8") from None
    if not counts or counts[0] < 1 or counts[-1] >= max(n, 2):
        raise UserError(f"--count {text}: there are {n} players; remove 1 to {n - 1}")
    return counts


def make_limits(
    players: Sequence[str], protect: str | None = None, contiguous: bool = False
) -> Limits:
    """Returns the limits of a game of somebody's.

    Raises:
        UserError: if a protected player is unknown.
    """
    names = list(players)
    kept = []
    for part in (piece.strip() for piece in (protect or "").split(",")):
        if part in names:
            kept.append(names.index(part))
        elif part.isascii() and part.isdigit() and int(part) < len(names):
            kept.append(int(part))
        elif part:
            raise UserError(
                f"--protect {part}: no such player; name one of {names[0]} to {names[-1]}, or a"
                f" number from 0 to {len(names) - 1}"
            )
    return Limits(len(names), tuple(kept), contiguous)
