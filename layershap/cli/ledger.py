"""`layershap ledger`: look into a run's measurements, bring them up to date, hand them on."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import click

from layershap.cli.options import run_argument
from layershap.errors import UserError
from layershap.runs.directory import RunDirectory

__all__ = ["ledger"]


@click.group()
def ledger() -> None:
    """Show, export or upgrade what a run has measured."""


@ledger.command()
@run_argument
def show(run: Path) -> None:
    """Say what the ledger of RUN holds: campaigns, counts, events."""
    from cluster import Ledger
    from layershap.terminal.console import Console

    path = RunDirectory(run).ledger
    with Ledger(path, readonly=True) as found:
        version = found.fetch("PRAGMA user_version")[0][0]
        campaigns = [found.campaign(name) for name in found.campaign_names()]
        rows = [(campaign, campaign.counts()) for campaign in campaigns]
        events = found.events()
    size = sum(p.stat().st_size for p in (path, path.with_name(f"{path.name}-wal")) if p.exists())
    click.echo(f"{path}: schema version {version}, {size / 1e6:,.1f} MB")
    for campaign, counts in rows:
        columns = ", ".join(f"{c.name} x {c.width}" for c in campaign.columns)
        click.echo(f"\n{campaign.name}: {counts.total:,} sets of {len(campaign.players)}")
        click.echo(f"  fingerprint  {campaign.fingerprint}")
        click.echo(f"  columns      {columns}; utility {campaign.utility}")
        for key, value in campaign.details.items():
            click.echo(f"  {key:<12} {value}")
        click.echo(
            f"  status       {counts.ok:,} ok, {counts.non_finite:,} non-finite, "
            f"{counts.failed:,} failed, {counts.repeated:,} measured more than once"
        )
    if events:
        last = {event.kind: event.time for event in events}
        click.echo()
        Console().table(
            "Events",
            ["what", "times", "last"],
            [
                [kind, f"{times:,}", time.strftime("%F %T", time.localtime(last[kind]))]
                for kind, times in Counter(event.kind for event in events).items()
            ],
        )


@ledger.command()
@run_argument
@click.option(
    "--to",
    "destination",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write; its ending says which kind: .parquet or .csv.",
)
@click.option(
    "--campaign",
    "name",
    default="calibration",
    show_default=True,
    metavar="NAME",
    help="Which text's measurements; all for every one.",
)
@click.option("--vectors", is_flag=True, help="Write every sequence's numbers, not only means.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def export(run: Path, destination: Path, name: str, vectors: bool, force: bool) -> None:
    """Write what RUN has measured as a table, one row a set."""
    from cluster import Ledger, export_table
    from layershap.terminal.console import Console

    with Ledger(RunDirectory(run).ledger, readonly=True) as found:
        names = found.campaign_names() if name == "all" else (name,)
        campaigns = [found.campaign(one) for one in names]
        with Console().status(f"writing {destination}"):
            rows = export_table(campaigns, destination, vectors, overwrite=force)
    size = destination.stat().st_size
    click.echo(f"{destination}: {rows:,} rows, {size / 1e6:,.1f} MB")


@ledger.command()
@run_argument
def upgrade(run: Path) -> None:
    """Bring the ledger of RUN to the schema of this version.

    Values keep every bit. An upgrade that is cut short leaves the ledger as it was.
    """
    from cluster import Ledger
    from layershap.terminal.console import Console

    path = RunDirectory(run).ledger
    if not path.exists():
        raise UserError(f"RUN {run}: has no ledger; name a directory that layershap run has made")
    with Console().status(f"upgrading {path}"), Ledger(path) as found:
        before = found.upgraded_from
        version = found.fetch("PRAGMA user_version")[0][0]
        counts = [found.campaign(name).counts().total for name in found.campaign_names()]
    change = f"upgraded from schema version {before} to" if before else "already at schema version"
    click.echo(f"{path}: {change} {version}, {sum(counts):,} sets")
