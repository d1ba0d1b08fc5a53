"""How sets that were found in a game are shown: as a table with sentences, or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from layershap.cli.game.outcomes import number, power
from layershap.games.set_search import SetRequest
from layershap.terminal.console import Console
from shapley.search import Candidate, FoundSets

__all__ = ["sets_as_json", "show_sets"]


def sets_as_json(players: Sequence[str], found: FoundSets, request: SetRequest) -> dict[str, Any]:
    """What ``--json`` prints.

    ``chance_of_better`` is the probability, by what was learnt, that a set which was not measured
    is better; where ``measured`` is false the utility is what is expected of the set.
    """
    sets = [
        {
            "count": count,
            "removed": list(best.removed),
            "names": [players[player] for player in best.removed],
            "utility": best.utility,
            "measured": measured,
            "chance_of_better": found.chances[count],
        }
        for count, best, measured in _best(found)
    ]
    return {
        "sets": sets,
        "evaluations": found.spent,
        "budget": request.budget,
        "seed": request.seed,
        "settled": found.converged,
    }


def show_sets(
    console: Console, players: Sequence[str], found: FoundSets, request: SetRequest
) -> None:
    """Prints a table, whether the search was done, and the spend."""
    rows = [
        [
            str(count),
            ", ".join(players[player] for player in best.removed),
            number(best.utility, signed=False) + ("" if measured else " (expected)"),
            f"{found.chances[count]:.1%}",
        ]
        for count, best, measured in _best(found)
    ]
    headings = ["count", "remove", "utility", "chance of a better set"]
    console.table("Best sets to remove", headings, rows)
    if not found.converged:
        click.echo("The budget ended the search; a larger --budget may find better sets.")
    click.echo(
        f"Evaluated {found.spent:,} of {power(len(players))} sets"
        f" (budget {request.budget:,}, seed {request.seed})."
    )


def _best(found: FoundSets) -> list[tuple[int, Candidate, bool]]:
    """Of every count the best measured set, or the one that is expected to be."""
    return [
        (count, sets[0] if sets else found.expected[count], bool(sets))
        for count, sets in found.sets.items()
    ]
