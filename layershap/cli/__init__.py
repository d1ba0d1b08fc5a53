"""The command line: one file a subcommand, heavy imports inside the commands."""

from __future__ import annotations

from importlib.metadata import version

import click

from layershap.cli.groups import LazyGroup

__all__ = ["COMMANDS", "commands"]

COMMANDS = {
    "run": "Measure, learn, explain, search, verify, report: the whole job.",
    "measure": "Stage 1: measure a design of sets on Ray.",
    "fit": "Stage 2: fit the surrogate to what was measured.",
    "values": "Stage 3: Shapley values with intervals.",
    "search": "Stage 4: search for sets to remove.",
    "baselines": "Run published methods on the same model and text, to compare with.",
    "verify": "Stage 5: measure the sets on held-out text, with speed.",
    "report": "Stage 6: write the report as HTML, Markdown or JSON.",
    "status": "Say where a run stands, also while it is going on.",
    "recommend": "Name one verified set that keeps to limits of cost, speed or size.",
    "repair": "Fit what is left of a smaller model to the whole one.",
    "query": "Ask the surrogate about any set of layers.",
    "explore": "Write a page to try out sets of layers on, one file to share.",
    "serve": "Answer questions about a run over HTTP.",
    "export": "Write a stock checkpoint without some layers.",
    "evaluate": "Score a checkpoint with lm-evaluation-harness.",
    "game": "Values and sets to remove in a game of your own.",
    "trust": "Allow what a run directory of somebody else asks for.",
    "ledger": "Show, export as a table or upgrade what was measured.",
    "doctor": "Check the machine, the model and the text before money is spent.",
}


@click.command(
    cls=LazyGroup,
    room="layershap.cli",
    told=COMMANDS,
    homes={"fit": "stages", "verify": "stages", "report": "stages", "trust": "status"},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(version("layershap"), prog_name="layershap")
def commands() -> None:
    """What each layer of a language model is worth, and which layers it can do without.

    Give it a Hugging Face decoder, some text and a budget of model evaluations:

        layershap run Qwen/Qwen3-0.6B --calibration text.txt --budget 400 --count 1-6
    """
