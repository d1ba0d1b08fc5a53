"""`layershap export`: a stock checkpoint without some layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from layershap.cli.options import read_run, run_argument
from layershap.errors import UserError

if TYPE_CHECKING:
    from decoder.surgery.export import Export

__all__ = ["export"]


@click.command()
@run_argument
@click.option("--remove", metavar="PLAYERS", help="What to leave out, as 4,6 or L4.attn.")
@click.option(
    "--count",
    type=click.IntRange(min=1),
    metavar="COUNT",
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

    Whole layers are deleted. Where an attention and the MLP before it are both gone, what remains
    of their layers becomes one layer; the weights of any other half that goes alone become zero.
    The checkpoint is loaded again, and its logits, its decoding with a cache, `generate` and
    saving once more are compared with what was measured, before it gets its name. Beside the
    weights lie `layershap.json` and a model card.
    """
    from decoder.checkpoint.saving import refuse_taken
    from layershap.export.export import export_set
    from layershap.results.recommendations import RECOMMENDATIONS
    from layershap.results.set_text import parse_set
    from layershap.runs.workspace import open_workspace
    from layershap.terminal.console import Console

    config, directory = read_run(run)
    if (remove is None) == (count is None):
        raise UserError("export: name either --remove, as --remove 4,6, or --count")
    refuse_taken(destination)
    console = Console()
    with open_workspace(config, directory, console) as work:
        if remove is not None:
            removed = parse_set(remove, "--remove", work.roster.find)
        else:
            found = RECOMMENDATIONS.read(directory.path).recommendations
            sets = {item.count: item.removed for item in found}
            if count not in sets:
                raise UserError(
                    f"--count {count}: nothing is recommended for it; {run} has "
                    f"{', '.join(map(str, sets))}"
                )
            removed = sets[count]
        done = export_set(work, removed, destination)
    for line in _summary(done):
        click.echo(line)


def _summary(done: Export) -> list[str]:
    saved, before = done.parameters_before - done.parameters_after, done.parameters_before
    lines = [
        f"{done.path}: {done.parameters_after:,} parameters, {done.bytes_written:,} bytes",
        f"saved {saved:,} parameters ({100 * saved / before:.1f} %), {done.layers_before} layers "
        f"became {done.layers_after}",
    ]
    if done.repacked:
        pairs = ", ".join(f"L{a}.attn with L{m}.mlp" for a, m in done.repacked)
        lines.append(
            f"repacked, so really smaller and faster: {', '.join(done.gone)} (now {pairs})"
        )
    if done.zeroed:
        zeroed = ", ".join(done.zeroed)
        lines.append(f"zeroed, so neither smaller nor faster in a stock model: {zeroed}")
    if done.note:
        lines.append(f"note: {done.note}")
    checks = done.agreement
    return [
        *lines,
        f"checked: logits differ by {checks.logits:.1e}, decoding with a cache by "
        f"{checks.cached:.1e}, generate by {checks.generated:.1e}, saved again by "
        f"{checks.saved_again:.1e} (of the largest logit)",
    ]
