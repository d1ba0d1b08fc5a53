"""`layershap query`: what the surrogate says about a set, and what was measured of it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import click

from layershap.cli.options import read_run, run_argument
from layershap.errors import UserError

__all__ = ["query"]


@click.command()
@run_argument
@click.option("--remove", metavar="LAYERS", help="Layers to leave out, as 4,6 or 3-5.")
@click.option("--keep", metavar="LAYERS", help="Layers to keep instead, as 0-3,5,7-11.")
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
    """Predict the loss of any set of layers of RUN, in nats per token on its calibration text."""
    import numpy as np

    from cluster import Ledger
    from layershap.config import parse_layers
    from layershap.workspace import CALIBRATION
    from sampling import without
    from surrogate import load

    _, directory = read_run(run)
    if (remove is None) == (keep is None):
        raise UserError("query: name either --remove or --keep, as --remove 4,6 or --keep 0-3,5-11")
    regressor = load(directory.surrogate)
    with Ledger(directory.ledger, readonly=True) as ledger:
        campaign = ledger.campaign(CALIBRATION)
        players = campaign.players
        if remove is not None:
            row = without(len(players), parse_layers(remove, "--remove", players))[None]
        else:
            row = np.zeros((1, len(players)), dtype=bool)
            row[0, parse_layers(keep or "", "--keep", players)] = True
        measured = None
        if not campaign.missing(row)[0]:
            utility = campaign.read(row).utilities[0]
            measured = -float(utility) if np.isfinite(utility) else None
        dense = -float(campaign.read(np.ones_like(row)).utilities[0])
    predicted = -float(regressor.predict(row)[0])
    try:
        upper, lower = (-float(bound[0]) for bound in regressor.predict_interval(row, level))
    except ValueError:
        lower = upper = math.nan
    answer = {
        "removed": np.flatnonzero(~row[0]).tolist(),
        "predicted_nll": predicted,
        "lower": None if math.isnan(lower) else lower,
        "upper": None if math.isnan(upper) else upper,
        "level": level,
        "measured_nll": measured,
        "dense_nll": dense,
    }
    if as_json:
        click.echo(json.dumps(answer))
        return
    names = ", ".join(players[i] for i in answer["removed"]) or "nothing"
    interval = (
        "too few measurements for an interval"
        if math.isnan(lower)
        else f"{100 * level:g} %: {lower:.4f} to {upper:.4f}"
    )
    click.echo(f"remove     {names}")
    click.echo(f"predicted  {predicted:.4f} nats per token ({interval})")
    found = "not measured" if measured is None else f"{measured:.4f} nats per token"
    click.echo(f"measured   {found}")
    click.echo(f"whole model {dense:.4f} nats per token")
