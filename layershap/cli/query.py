"""`layershap query`: what the surrogate says about a set, and what was measured of it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from layershap.cli.options import read_run, run_argument
from layershap.errors import UserError

__all__ = ["query"]


@click.command()
@run_argument
@click.option("--remove", metavar="PLAYERS", help="What to leave out, as 4,6, 3-5 or L4.attn.")
@click.option("--keep", metavar="PLAYERS", help="What to keep instead, as 0-3,5,7-11.")
@click.option(
    "--level",
    type=click.FloatRange(0.5, 0.999),
    default=0.95,
    show_default=True,
    metavar="SHARE",
    help="Level of the prediction interval.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def query(run: Path, remove: str | None, keep: str | None, level: float, as_json: bool) -> None:
    """Predict what RUN's model measures without any set of its players (its loss, say)."""
    import numpy as np

    from cluster import Ledger
    from decoder.players import make_roster
    from layershap.results.set_text import parse_set
    from layershap.runs.utilities import parse_utilities
    from layershap.runs.workspace import CALIBRATION
    from sampling import without
    from surrogate import load

    config, directory = read_run(run)
    unit = parse_utilities(config.utilities)[0].unit
    if (remove is None) == (keep is None):
        raise UserError("query: name either --remove or --keep, as --remove 4,6 or --keep 0-3,5-11")
    regressor = load(directory.surrogate)
    with Ledger(directory.ledger, readonly=True) as ledger:
        campaign = ledger.campaign(CALIBRATION)
        players, details = campaign.players, campaign.details
        roster = make_roster(details["players"], details["depth"], details["protected"])
        if remove is not None:
            row = without(len(players), parse_set(remove, "--remove", roster.find))[None]
        else:
            row = np.zeros((1, len(players)), dtype=bool)
            row[0, parse_set(keep or "", "--keep", roster.find)] = True
        sign = campaign.column(campaign.utility).sign
        measured = None
        if not campaign.missing(row)[0]:
            utility = campaign.read(row).utilities[0]
            measured = sign * float(utility) if np.isfinite(utility) else None
        dense = sign * float(campaign.read(np.ones_like(row)).utilities[0])
    predicted = sign * float(regressor.predict(row)[0])
    try:
        interval = sorted(sign * float(b[0]) for b in regressor.predict_interval(row, level))
    except ValueError:
        interval = []
    answer = {
        "removed": np.flatnonzero(~row[0]).tolist(),
        "metric": campaign.utility,
        "unit": unit,
        "predicted": predicted,
        "lower": interval[0] if interval else None,
        "upper": interval[1] if interval else None,
        "level": level,
        "measured": measured,
        "dense": dense,
    }
    if as_json:
        click.echo(json.dumps(answer))
        return
    names = ", ".join(players[i] for i in answer["removed"]) or "nothing"
    shown = "too few measurements for an interval"
    if interval:
        shown = f"{100 * level:g} %: {interval[0]:.4f} to {interval[1]:.4f}"
    click.echo(f"remove     {names}")
    click.echo(f"predicted  {predicted:.4f} {unit} ({shown})")
    found = "not measured" if measured is None else f"{measured:.4f} {unit}"
    click.echo(f"measured   {found}")
    click.echo(f"whole model {dense:.4f} {unit}")
