"""`layershap doctor`: what would go wrong later, said now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from layershap.cli.options import Configured, configured
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory

if TYPE_CHECKING:
    from layershap.status.doctor import Finding

__all__ = ["doctor"]


def _doctor(config: RunConfig, directory: RunDirectory) -> None:
    """Check the machine, the model, the text and the budget, and say what a run would cost.

    Takes the options of `layershap run`, measures nothing and writes nothing. Exit status 1 if
    something would stop the run.
    """
    from layershap.status.doctor import diagnose

    findings = diagnose(config, directory)
    for finding in findings:
        line = f"{_word(finding)}  {finding.what}: {finding.detail}"
        click.secho(line, fg="red" if finding.alarm or not finding.good else None)
    if not all(finding.good for finding in findings):
        raise click.exceptions.Exit(1)


def _word(finding: Finding) -> str:
    if not finding.good:
        return "FAIL"
    return "WARN" if finding.alarm else "ok  "


doctor = click.command(name="doctor", cls=Configured)(configured(_doctor))
