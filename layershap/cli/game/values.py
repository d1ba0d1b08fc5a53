"""`layershap game values`: what the players of any game are worth."""

from __future__ import annotations

import json
import math

import click

from layershap.cli.game.source import GameSource, game_options
from layershap.errors import UserError
from layershap.terminal.console import Console

__all__ = ["values"]

A_PLAYER = 25
MOST_FOR_A_TARGET = 20_000


@click.command()
@game_options
@click.option(
    "--budget",
    type=int,
    metavar="EVALUATIONS",
    help="Distinct sets to evaluate, at least n + 2; all 2^n give exact values. [default:"
    f" {A_PLAYER} a player, all of a table; with --target-se at most {MOST_FOR_A_TARGET:,}]",
)
@click.option(
    "--method",
    default="default",
    show_default=True,
    metavar="NAME",
    help="Estimator: default, corrected, surrogate, unbiased, regression, permutation,"
    " stratified, neyman or exact.",
)
@click.option(
    "--target-se",
    type=float,
    metavar="SE",
    help="Go on until no value's standard error is larger, in units of the utility; with"
    " --retention a share.",
)
@click.option(
    "--retention",
    is_flag=True,
    help="Utilities are minus a loss in nats: values of exp(utility - utility of all players),"
    " shares that add up to what all players have over none.",
)
def values(
    source: GameSource,
    json_wanted: bool,
    budget: int | None,
    method: str,
    target_se: float | None,
    retention: bool,
) -> None:
    """Compute Shapley values of a game, with standard errors, from a budget of evaluations.

    The game of all players is evaluated once more at the end, which is not counted, and a game
    that answers differently is refused. What is measured, and kept by --state, is the same with
    and without --retention.
    """
    from layershap.cli.game.outcomes import advice, as_json, show
    from layershap.games.estimating import Request, estimate_values
    from layershap.games.estimators import make_estimator

    if target_se is not None and not (math.isfinite(target_se) and target_se > 0):
        raise UserError(f"--target-se {target_se:g}: must be a positive number of utility units")
    if target_se is not None and method == "exact":
        raise UserError("--target-se: exact values have no errors; leave it or --method exact out")
    estimator = make_estimator(method)
    game = source.open()
    allowed = _budget(budget, len(game.players), method, source.table is not None, target_se)
    console = Console()
    with source.interruptible(), console.progress("measuring") as update:
        outcome = estimate_values(
            game,
            estimator,
            Request(allowed, source.seed, target_se, retention),
            where=source.where,
            file=source.file(game, method),
            update=update,
        )
    if json_wanted:
        click.echo(json.dumps(as_json(outcome)))
    else:
        show(console, outcome)
    if outcome.reached is False:
        console.warn(advice(outcome))


def _budget(given: int | None, n: int, method: str, of_table: bool, target: float | None) -> int:
    """The number of evaluations: as given, or a sensible one."""
    from shapley.indices.exact import MOST_PLAYERS

    everything = 1 << n
    least = min(n + 2, everything)
    if method == "exact" and given is not None and given < everything:
        raise UserError(
            f"--budget {given}: --method exact evaluates all 2^n = {everything:,} sets; leave"
            " --budget out, or choose another method"
        )
    if given is not None:
        if given < least:
            rule = f"n + 2 = {least}" if least == n + 2 else f"2^n = {least}"
            raise UserError(f"--budget {given}: must be at least {rule} for {n} players")
        if given >= everything and n > MOST_PLAYERS:
            raise UserError(
                f"--budget {given}: all sets are enumerated up to {MOST_PLAYERS} players,"
                f" here are {n}; give a budget below 2^{n}"
            )
        return given
    if method == "exact":
        return everything
    if target is not None:
        return (
            min(everything, max(MOST_FOR_A_TARGET, least))
            if n <= MOST_PLAYERS
            else MOST_FOR_A_TARGET
        )
    if of_table and n <= MOST_PLAYERS:
        return everything
    return min(everything, max(A_PLAYER * n, least))
