"""`layershap status|trust RUN`: where a run stands, and what its directory may ask for."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from layershap.cli.options import read_run, run_argument

if TYPE_CHECKING:
    from layershap.status.run_status import RunStatus

__all__ = ["status", "trust"]

_MOST_SETS = 8
_WATCH_SECONDS = 2.0


@click.command()
@run_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--watch", is_flag=True, help="Say it again every 2 seconds until nothing runs.")
def status(run: Path, as_json: bool, watch: bool) -> None:
    """Say where RUN stands: its stage, pace, time left, the best sets so far, what to do next.

    It only reads, so it may be asked from another terminal while the run goes on.
    """
    from layershap.runs.directory import RunDirectory
    from layershap.status.run_status import standing

    while True:
        found = standing(RunDirectory(run))
        lines = [json.dumps(found.to_dict())] if as_json else _lines(found)
        if watch and not as_json:
            click.clear()  # on a terminal only
        for line in lines:
            click.echo(line)
        if not (watch and found.running):
            return
        time.sleep(_WATCH_SECONDS)


@click.command()
@run_argument
def trust(run: Path) -> None:
    """Allow RUN to run its model's own code, or to connect to its cluster, where it asks for that.

    What was typed on this machine for a directory needs no leave. For a directory of somebody else,
    look at its run.toml first; a later change of it must be allowed again.
    """
    config, directory = read_run(run)
    wish = directory.wish(config)
    if not wish.asked:
        click.echo(f"{run}: asks for nothing that needs to be allowed")
        return
    known = wish.trusted
    wish.record()
    click.echo(f"{run}: {'was' if known else 'is now'} allowed {' and '.join(wish.asked)}")


def _lines(found: RunStatus) -> list[str]:
    from layershap.runs.stages import STAGES
    from layershap.terminal.console import clock

    n, noun = len(found.players), found.noun
    marks = [
        f"{name} {'done' if name in found.finished else 'now' if name == found.stage else '–'}"
        for name in STAGES
    ]
    lines = [
        f"{found.run}: {found.model}, {n} {noun}s",
        found.sentence,
        f"stages       {', '.join(marks)}",
        f"evaluations  {found.evaluations:,} sets measured (budget {found.budget:,}), "
        f"{clock(found.worker_seconds)} of workers' time",
    ]
    if found.last_measured is not None:
        when = time.strftime("%F %T", time.localtime(found.last_measured))
        lines.append(f"last         {when}")
    names = {"verified": "held-out text", "searched": "search", "measured": "measured so far"}
    for place, best in enumerate(found.best[:_MOST_SETS]):
        cost = "no finite loss" if best.cost is None else f"{best.cost:+.4f} {best.unit}"
        head = "best so far" if place == 0 else ""
        gone = ", ".join(best.removed)
        lines.append(
            f"{head:<12} remove {best.count}: {gone} costs {cost} ({names[best.known_by]})"
        )
    lines += [f"note         {sentence}" for sentence in found.concerns]
    return [*lines, f"next         {found.next}"]
