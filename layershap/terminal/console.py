"""What a person sees while a run goes on: stages, progress with the time left, warnings, tables."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console as RichConsole
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

from layershap.terminal.columns import fitted
from layershap.terminal.progress import Counted, Progress

if TYPE_CHECKING:
    from layershap.terminal.progress_file import ProgressWriter

__all__ = ["Console", "clock"]

Item = TypeVar("Item")
log = logging.getLogger("layershap.terminal.console")
log.addHandler(logging.NullHandler())  # without a run's log nothing else is to print these

_PLAIN_WIDTH = 120  # columns of a table that goes to a file or a pipe
_LINE_EVERY = 10.0  # seconds between progress lines where there is no terminal
_SILENCE = 5.0  # seconds of work without a count after which a line says what goes on
_LOG_EVERY = 60.0  # seconds between progress lines in the log


class Console:
    """Output for people on standard error, results on standard output.

    Attributes:
        heart: told of what goes on, where a run's directory keeps it.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.heart: ProgressWriter | None = None
        self._stage: str | None = None
        self.err = RichConsole(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self.out = RichConsole(highlight=False, soft_wrap=True)
        if not self.out.is_terminal:
            self.out = RichConsole(highlight=False, soft_wrap=True, width=_PLAIN_WIDTH)

    def stage(self, number: int, total: int, name: str, what: str) -> None:
        """Announce a stage."""
        self._stage = name
        self._beat(None)
        log.info("[%d/%d] %s: %s", number, total, name, what)
        self.err.print(f"[bold][{number}/{total}] {name}[/] [dim]{what}[/]")

    def say(self, text: str) -> None:
        """A line of information."""
        log.info("%s", text)
        self.err.print(f"      {text}", markup=False)

    def warn(self, text: str) -> None:
        """A line that a person should not miss."""
        log.warning("%s", text)
        self.err.print(f"[yellow]note:[/] {text}")

    def alarm(self, text: str) -> None:
        """A line without which the results would be misread."""
        log.warning("%s", text)
        self.err.print("warning:", style="bold red", end=" ")
        self.err.print(text, style="red", markup=False)

    @contextmanager
    def status(self, text: str) -> Iterator[None]:
        """A spinner with the time for work without a count; a line where there is no terminal."""
        self._beat(text)
        log.info("%s", text)
        if self.err.is_terminal:
            with self._bar("") as bar:
                bar.add_task(f"{text} …", total=None, amount="", note="")
                yield
        else:
            line = threading.Timer(_SILENCE, self.err.print, (f"      {text} …",))
            line.daemon = True
            line.start()
            try:
                yield
            finally:
                line.cancel()
        self._beat(None)

    @contextmanager
    def progress(
        self, task: str | None, note: Callable[[], str] | None = None
    ) -> Iterator[Callable[[Counted], None] | None]:
        """A bar with rate and time left; plain lines where there is no terminal.

        Yields a function to tell how far it is, or None when there is no task to show.

        Args:
            task: what goes on.
            note: what else is worth a look, asked whenever progress is shown.
        """
        if task is None:
            yield None
            return
        logged = self._lines(task, note, _LOG_EVERY, log.info)
        plain = self._lines(
            task, note, _LINE_EVERY, lambda t: self.err.print(f"      {t}", markup=False)
        )
        if not self.err.is_terminal:

            def update(p: Counted) -> None:
                self._beat(task, p)
                plain(p)
                logged(p)

            yield update
        else:
            with self._bar("      ") as bar:
                row = bar.add_task(task, total=1, completed=0, amount="", note="")

                def update(p: Counted) -> None:
                    self._beat(task, p)
                    found = note() if note else ""
                    amount = f"{p.done}/{p.total} {_pace(p)}".rstrip()
                    bar.update(row, completed=p.done, total=p.total, amount=amount, note=found)
                    logged(p)

                yield update
        self._beat(None)

    def steps(self, task: str, items: Iterable[Item]) -> Iterator[Item]:
        """The items one after the other, with a bar and the time left."""
        listed, began = list(items), time.monotonic()
        with self.progress(task) as update:
            for done, item in enumerate(listed):
                if update is not None:
                    update(Progress.since(began, done, len(listed)))
                yield item

    def result(self, text: str) -> None:
        """A line of the result."""
        log.info("%s", text)
        self.out.print(text)

    def table(
        self,
        title: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        spare: Sequence[str] = (),
    ) -> None:
        """A table of results; the first column is left, the others right.

        Args:
            title: above it.
            columns: headings.
            rows: cells.
            spare: headings that may go where the terminal is narrow, the first to go first.
        """
        table = Table(title=title, title_justify="left", title_style="bold")
        heads, cells = fitted(columns, rows, self.out.width, spare)
        for index, column in enumerate(heads):
            table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
        log.info("%s", "\n".join([title, *(" | ".join(row) for row in (columns, *rows))]))
        for row in cells:
            table.add_row(*row)
        self.out.print(table, soft_wrap=False)

    def _bar(self, indent: str) -> RichProgress:
        return RichProgress(
            TextColumn(indent + "{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[amount]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            console=self.err,
            transient=True,
        )

    def _beat(self, task: str | None, p: Counted | None = None) -> None:
        if self.heart is not None:
            self.heart.beat(self._stage, task, p)

    def _lines(
        self,
        task: str,
        note: Callable[[], str] | None,
        every: float,
        write: Callable[[str], object],
    ) -> Callable[[Counted], None]:
        last = [time.monotonic()]

        def update(p: Counted) -> None:
            if time.monotonic() - last[0] >= every:
                last[0] = time.monotonic()
                found = note() if note else ""
                text = f"{task} {p.done}/{p.total} {_pace(p)}".rstrip()
                write(f"{text}; {found}" if found else text)

        return update


def clock(seconds: float) -> str:
    """A duration for people: 45 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _pace(p: Counted) -> str:
    if getattr(p, "workers", None) == 0:
        return "(workers are loading the model)"
    parts = [f"{p.rate:.1f} a second"] if p.rate else []
    if p.seconds_left is not None and p.done < p.total:
        parts.append(f"{clock(p.seconds_left)} left")
    return f"({', '.join(parts)})" if parts else ""
