"""What a person sees while a run goes on: stages, progress with the time left, warnings, tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

__all__ = ["Console", "clock"]

_PLAIN_WIDTH = 120  # columns of a table that goes to a file or a pipe
_LINE_EVERY = 10.0  # seconds between progress lines where there is no terminal


class Console:
    """Output for people on standard error, results on standard output."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.err = RichConsole(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self.out = RichConsole(highlight=False, soft_wrap=True)
        if not self.out.is_terminal:
            self.out = RichConsole(highlight=False, soft_wrap=True, width=_PLAIN_WIDTH)

    def stage(self, number: int, total: int, name: str, what: str) -> None:
        """Announce a stage."""
        self.err.print(f"[bold][{number}/{total}] {name}[/] [dim]{what}[/]")

    def say(self, text: str) -> None:
        """A line of information."""
        self.err.print(f"      {text}", markup=False)

    def warn(self, text: str) -> None:
        """A line that a person should not miss."""
        self.err.print(f"[yellow]note:[/] {text}")

    @contextmanager
    def status(self, text: str) -> Iterator[None]:
        """A spinner for short work, on a terminal only."""
        if not self.err.is_terminal:
            yield
            return
        with self.err.status(f"{text} …"):
            yield

    @contextmanager
    def progress(self, task: str | None) -> Iterator[Callable[[Any], None] | None]:
        """A bar with rate and time left; plain lines where there is no terminal.

        Yields a function of an object with `done`, `total`, `rate` and `seconds_left`, or None
        when there is no task to show.
        """
        if task is None:
            yield None
        elif not self.err.is_terminal:
            yield self._lines(task)
        else:
            bar = Progress(
                TextColumn("      {task.description}"),
                BarColumn(bar_width=30),
                TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[pace]}"),
                TimeElapsedColumn(),
                console=self.err,
                transient=True,
            )
            with bar:
                row = bar.add_task(task, total=1, completed=0, pace="")

                def update(p: Any) -> None:
                    bar.update(row, completed=p.done, total=p.total, pace=_pace(p))

                yield update

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table of results; the first column is left, the others right."""
        table = Table(title=title, title_justify="left", title_style="bold")
        for index, column in enumerate(columns):
            table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        self.out.print(table, soft_wrap=False)

    def _lines(self, task: str) -> Callable[[Any], None]:
        last = [time.monotonic()]

        def update(p: Any) -> None:
            if time.monotonic() - last[0] >= _LINE_EVERY:
                last[0] = time.monotonic()
                self.say(f"{task} {p.done}/{p.total} {_pace(p)}")

        return update


def clock(seconds: float) -> str:
    """A duration for people: 45 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _pace(p: Any) -> str:
    if not p.rate:
        return ""
    left = "" if p.seconds_left is None else f", {clock(p.seconds_left)} left"
    return f"({p.rate:.1f} a second{left})"
