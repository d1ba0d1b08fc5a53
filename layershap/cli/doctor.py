"""`layershap doctor`: what would go wrong later, said now."""

from __future__ import annotations

import click

from layershap.cli.options import Configured, configured
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory

__all__ = ["doctor"]


def _doctor(config: RunConfig, directory: RunDirectory) -> None:
    """Check the machine, the model, the text and the budget, and say what a run would cost.

    Takes the options of `layershap run`, measures nothing and writes nothing. Exit status 1 if
    something would stop the run.
    """
    from layershap.runs.doctor import diagnose

    findings = diagnose(config, directory)
    for finding in findings:
        click.echo(f"{'ok  ' if finding.good else 'FAIL'}  {finding.what}: {finding.detail}")
    if not all(finding.good for finding in findings):
        raise click.exceptions.Exit(1)


doctor = click.command(name="doctor", cls=Configured)(configured(_doctor))
