"""`layershap export`: a stock checkpoint without some layers."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import click

from layershap.cli.options import read_run, run_argument
from layershap.errors import UserError

__all__ = ["export"]


@click.command()
@run_argument
@click.option("--remove", metavar="PLAYERS", help="What to leave out, as 4,6 or L4.attn.")
@click.option(
    "--count",
    type=click.IntRange(min=1),
    metavar="PLAYERS",
    help="Take the recommended set of this many players.",
)
@click.option(
    "--to",
    "destination",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory to write; it must be new or empty.",
)
def export(run: Path, remove: str | None, count: int | None, destination: Path) -> None:
    """Write the model of RUN without some layers as a stock Hugging Face checkpoint.

    The checkpoint is loaded again, and its logits and its decoding with a cache are compared with
    what was measured, before it gets its name.
    """
    from layershap.config import parse_removed
    from layershap.console import Console
    from layershap.workspace import HELDOUT, open_workspace
    from llm.export import export_checkpoint

    config, directory = read_run(run)
    if (remove is None) == (count is None):
        raise UserError("export: name either --remove, as --remove 4,6, or --count")
    console = Console()
    with open_workspace(config, directory, console) as work:
        if remove is not None:
            removed = parse_removed(remove, "--remove", work.roster)
            if not removed:
                raise UserError("--remove: names no layer; write some, as --remove 4,6")
        else:
            found = directory.read_json(directory.recommendations, "verify")["recommendations"]
            sets = {item["count"]: item["removed"] for item in found}
            if count not in sets:
                raise UserError(
                    f"--count {count}: nothing is recommended for it; {run} has "
                    f"{', '.join(map(str, sets))}"
                )
            removed = sets[count]
        if len(work.roster.removed_layers(removed)) >= work.roster.depth:
            raise UserError("--remove: that is every layer; keep at least one")
        provenance = {
            "base_model": config.title,
            "fingerprint": work.fingerprint(HELDOUT),
            "removed_players": work.named(removed),
            "layershap": version("layershap"),
        }
        with console.status("writing and checking"):
            done = export_checkpoint(
                work.spec,
                removed,
                destination,
                work.texts.heldout.tokens,
                roster=work.roster,
                provenance=provenance,
            )
    saved = done.parameters_before - done.parameters_after
    click.echo(f"{done.path}: {done.parameters_after:,} parameters, {done.bytes_written:,} bytes")
    click.echo(f"saved {saved:,} parameters ({100 * saved / done.parameters_before:.1f} %)")
    if done.zeroed:
        click.echo(
            f"zeroed, so neither smaller nor faster in a stock model: {', '.join(done.zeroed)}"
        )
    click.echo(
        f"checked: logits differ by {done.logit_difference:.1e}, decoding with a cache by "
        f"{done.cache_difference:.1e} (of the largest logit)"
    )
