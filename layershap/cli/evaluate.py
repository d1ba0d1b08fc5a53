"""`layershap evaluate`: lm-evaluation-harness on a checkpoint, alone or beside another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from layershap.errors import UserError

if TYPE_CHECKING:
    from layershap.harness.scores import Difference

__all__ = ["evaluate"]


@click.command()
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.option(
    "--task",
    "tasks",
    multiple=True,
    required=True,
    metavar="NAME|FILE",
    help="A task of the harness by name, or a local file; repeat it for several.",
)
@click.option("--against", metavar="MODEL", help="Score this model too, and tell the differences.")
@click.option("--limit", type=click.IntRange(min=1), metavar="ITEMS", help="Items of each task.")
@click.option(
    "--batch-size",
    default="8",
    show_default=True,
    metavar="SEQUENCES",
    help="Sequences at a time, or auto.",
)
@click.option("--dtype", default="auto", show_default=True, metavar="TYPE", help="Weights' type.")
@click.option("--device", default="auto", show_default=True, metavar="DEVICE", help="cpu, cuda...")
@click.option("--trust-remote-code", is_flag=True, help="Run code from the models' repositories.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the same JSON to a file.",
)
def evaluate(
    checkpoint: str,
    tasks: tuple[str, ...],
    against: str | None,
    limit: int | None,
    batch_size: str,
    dtype: str,
    device: str,
    trust_remote_code: bool,
    as_json: bool,
    output: Path | None,
) -> None:
    """Score CHECKPOINT, a directory or hub id, with lm-evaluation-harness.

    A task is the harness' own, or a file: JSON lines with query, choices and gold (multiple
    choice), with context and continuation (words to predict) or with text, or plain text
    (perplexity). Nothing is downloaded for files. With --against, differences have 95 % intervals
    over the same items.
    """
    import json
    from dataclasses import asdict

    from decoder.model.loading import ModelSpec
    from layershap.files import write_whole
    from layershap.harness.evaluation import evaluate_checkpoint
    from layershap.terminal.console import Console

    if batch_size != "auto" and not (batch_size.isdecimal() and int(batch_size)):
        raise UserError(f"--batch-size {batch_size}: must be a number from 1, or auto")
    if output is not None and not output.absolute().parent.is_dir():
        raise UserError(f"--output {output}: its directory does not exist; make it first")
    found = evaluate_checkpoint(
        ModelSpec(checkpoint, dtype, device, trust_remote_code),
        tasks,
        against=ModelSpec(against, dtype, device, trust_remote_code) if against else None,
        limit=limit,
        batch_size=batch_size if batch_size == "auto" else int(batch_size),
    )
    text = json.dumps(_finite(asdict(found)), indent=2)
    if output is not None:
        try:
            write_whole(output, text + "\n")
        except OSError as error:
            raise UserError(
                f"--output {output}: cannot be written ({error.strerror}); name another file"
            ) from None
    if as_json:
        click.echo(text)
        return
    rows = []
    for score in found.scores:
        row = [score.task, score.metric, f"{score.items:,}", _value(score.value, score.error)]
        if against:
            row += [_value(score.against, score.against_error), _shown(score.difference)]
        rows.append(row)
    headings = ["task", "metric", "items", "score"]
    if against:
        headings += ["against", "difference (95 %)"]
    Console().table(f"{checkpoint} (lm-evaluation-harness {found.harness})", headings, rows)
    if any(s.difference is not None and s.difference.scale == "log ratio" for s in found.scores):
        click.echo("* logarithm of the perplexities' ratio")
    for task, number in found.left_out.items():
        click.echo(f"{task}: {number} items longer than the context left out")


def _value(value: float | None, error: float | None) -> str:
    if value is None:
        return "–"
    return _digits(value) + ("" if error is None else f" ± {_digits(error)}")


def _digits(number: float) -> str:
    return f"{number:.4f}" if abs(number) < 1000 else f"{number:.4g}"


def _shown(difference: Difference | None) -> str:
    if difference is None:
        return "–"
    star = "*" if difference.scale == "log ratio" else ""
    if difference.lower != difference.lower:
        return f"{difference.mean:+.4f}{star}"
    return f"{difference.mean:+.4f}{star} ({difference.lower:+.4f} to {difference.upper:+.4f})"


def _finite(value: object) -> object:
    """The same with null for numbers that are not finite, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(inside) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inside) for inside in value]
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    return value
