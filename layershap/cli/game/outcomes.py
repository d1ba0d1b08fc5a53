"""How values of a game are shown: as a table with sentences, or as JSON."""

from __future__ import annotations

import math
from typing import Any

import click
import numpy as np

from layershap.games.estimating import Outcome
from layershap.results.value_text import value_text
from layershap.terminal.console import Console
from shapley import Status, Values, ranking_statements

__all__ = ["advice", "as_json", "number", "power", "show"]

LEAST = 3


def as_json(outcome: Outcome) -> dict[str, Any]:
    """What ``--json`` prints; null where there is no number."""
    found, request = outcome.values, outcome.request
    plain = found.to_dict()
    answer = {
        "value_of": "retention" if request.retention else "utility",
        "whole_utility": outcome.whole,
        "players": plain["players"],
        "values": plain["values"],
        "standard_errors": plain["standard_errors"],
        "intervals": [list(ends) for ends in zip(plain["lower"], plain["upper"], strict=True)],
        "evaluations": found.spent,
        "budget": found.budget,
        "seed": request.seed,
        "method": found.method,
        "status": plain["status"],
        "status_text": plain["status_text"],
        "exact": found.status is Status.EXACT,
    }
    if request.target is not None:
        answer |= {
            "target_se": request.target,
            "target_reached": outcome.reached,
            "advised_budget": outcome.advised,
        }
    return answer


def show(console: Console, outcome: Outcome) -> None:
    """Prints a table, the least valuable players and how sure that is, and the spend."""
    found, retained = outcome.values, outcome.request.retention

    def shown(value: float, *, signed: bool = True) -> str:
        return value_text(value, "retention") if retained else number(value, signed=signed)

    columns = (found.values, found.standard_errors, found.lower, found.upper)
    rows = [
        [name, *(shown(float(c[i]), signed=c is not found.standard_errors) for c in columns)]
        for i, name in enumerate(found.players)
    ]
    headings = ["player", "value", "standard error", "from", "to (95 %)"]
    title = "Shapley values of retention" if retained else "Shapley values, in units of the utility"
    console.table(title, headings, rows)
    least = found.ranking()[:LEAST]
    listed = ", ".join(f"{found.players[i]} ({shown(float(found.values[i]))})" for i in least)
    click.echo(f"Least valuable: {listed}")
    if retained:
        click.echo(
            "Retention is exp(utility - utility of all players); the values add up to "
            f"{value_text(float(found.values.sum()), 'retention')}, which is 100 % minus what no "
            "players keep."
        )
    for sentence in _confidence(found, len(least), outcome.request.seed):
        click.echo(f"  {sentence}")
    click.echo(found.status.value)
    click.echo(
        f"Evaluated {found.spent:,} of {power(len(found.players))} sets"
        f" (budget {found.budget:,}, method {found.method}, seed {outcome.request.seed})."
    )


def _confidence(found: Values, k: int, seed: int) -> list[str]:
    """Sentences about the least valuable players, from how uncertain the values are."""
    if found.status is Status.EXACT:
        return ["The ranking is exact."]
    if not np.isfinite(found.standard_errors).all():
        return ["Without standard errors there is no telling how sure the ranking is."]
    statements = ranking_statements(found, k, seed=seed)
    return [statement.sentence for statement in statements if statement.kind != "order"]


def advice(outcome: Outcome) -> str:
    """What to tell of a target that was not reached."""
    worst = max(outcome.values.standard_errors, default=math.nan)
    reached = f"the largest standard error is {number(worst, signed=False)}"
    if math.isnan(worst):
        reached = "there are no standard errors yet"
    start = f"--target-se {outcome.request.target:g} is not reached with"
    start += f" {outcome.values.spent:,} evaluations: {reached}"
    if outcome.advised is None:
        return f"{start}; how many it takes cannot be told yet, raise --budget"
    return f"{start}; it takes about --budget {outcome.advised}"


def number(number: float, *, signed: bool = True) -> str:
    """A number of utility units as a person reads it; a dash where there is none."""
    if not math.isfinite(number):
        return "–"
    text = f"{number:.4f}" if 1e-3 <= abs(number) < 1e5 or number == 0 else f"{number:.3e}"
    return f"+{text}" if signed and number >= 0 else text


def power(n: int) -> str:
    """How many sets ``n`` players have."""
    return f"{1 << n:,}" if n <= 40 else f"2^{n}"
