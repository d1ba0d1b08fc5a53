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
    from layershap.api.asking import load_surrogate, predict_sets
    from layershap.api.ledger import RunLedger
    from layershap.results.set_text import parse_set
    from sampling import without

    config, directory = read_run(run)
    if (remove is None) == (keep is None):
        raise UserError("query: name either --remove or --keep, as --remove 4,6 or --keep 0-3,5-11")
    ledger = RunLedger(directory, config)
    option, text = ("--keep", keep or "") if remove is None else ("--remove", remove)
    row = without(len(ledger.players), parse_set(text, option, ledger.roster.find))
    row = ~row if remove is None else row
    found = predict_sets(ledger, load_surrogate(directory), row[None], level)[0]
    shown = found.to_dict()
    if as_json:
        answer = {
            "removed": [place for place, kept in enumerate(row) if not kept],
            "metric": found.metric,
            "unit": found.unit,
            "predicted": found.value,
            "lower": shown["lower"],
            "upper": shown["upper"],
            "level": level,
            "measured": found.measured,
            "dense": found.dense,
        }
        click.echo(json.dumps(answer))
        return
    ends = "too few measurements for an interval"
    if shown["lower"] is not None:
        ends = f"{100 * level:g} %: {found.lower:.4f} to {found.upper:.4f}"
    measured = "not measured"
    if found.measured is not None:
        measured = f"{found.measured:.4f} {found.unit}"
    click.echo(f"remove     {', '.join(found.removed) or 'nothing'}")
    click.echo(f"predicted  {found.value:.4f} {found.unit} ({ends})")
    click.echo(f"measured   {measured}")
    click.echo(f"whole model {found.dense:.4f} {found.unit}")
