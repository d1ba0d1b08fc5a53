"""Measuring somebody's game: in small calls, kept as they come, the same bits every time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float

from layershap.errors import UserError
from layershap.games.measured_file import MeasuredFile
from layershap.terminal.progress import Progress
from sampling.coalitions import full
from shapley.estimator import Chooser, State, start
from shapley.game import Game

__all__ = ["Meter", "asked", "check_deterministic"]

Answer = TypeVar("Answer")

FEWEST_ROWS, SHARE_OF_MEASURED, MOST_ROWS = 8, 4, 65_536  # of a call to the game
CALL_SECONDS = 2.0  # most of a call, so that progress and file follow
SAVING_SHARE = 0.05  # of the time goes into writing the file
SAME = 1e-6  # of a utility: batches of other sizes may round differently


class Meter:
    """Measures what an estimator or a search proposes, in calls of about a second, and keeps it.

    Attributes:
        state: everything measured.
    """

    def __init__(
        self,
        game: Game,
        budget: int,
        seed: int,
        file: MeasuredFile | None = None,
        update: Callable[[Progress], None] | None = None,
    ) -> None:
        """Begins, or goes on from what the file holds.

        Args:
            game: any game.
            budget: most coalitions, for the progress.
            seed: of every random choice.
            file: keeps what is measured.
            update: told of progress after every call.

        Raises:
            UserError: if the file is damaged or another's.
        """
        self.game, self.file, self.update, self.total = game, file, update, budget
        self.state = start(game.players, seed)
        self._due = np.empty((0, len(game.players)), dtype=bool)
        self._seconds = 0.0  # a coalition took lately
        if file is not None:
            kept = file.read()
            self.state, self._due, self._seconds = kept.state, kept.due, kept.seconds
        self._began, self._before = time.monotonic(), self.state.spent
        self._saved, self._saved_at, self._saving = 0, -math.inf, 0.0

    def measure(self, chooser: Chooser, upto: int) -> None:
        """Measures until the state holds ``upto`` coalitions, or the chooser wants no more."""
        while self.state.spent < upto:
            rows, self._due = self._due[: upto - self.state.spent], self._due[:0]
            if not len(rows):
                proposing = partial(chooser.propose, self.state, upto - self.state.spent)
                rows = asked(f"--method {chooser.name}", proposing)
            if not len(rows):
                return
            self._extend(rows)

    def _extend(self, rows: Bool[np.ndarray, "k n"]) -> None:
        found = np.empty(len(rows))
        done = 0
        try:
            while done < len(rows):
                some = rows[done : done + self._call_rows(done)]
                began = time.monotonic()
                found[done : done + len(some)] = self.game(some)
                done += len(some)
                self._seconds = (time.monotonic() - began) / len(some)
                self._show(done)
                self._save(rows, found[:done])
        finally:  # what was measured is kept, whatever went wrong
            self._save(rows, found[:done], always=True)
        self.state = self.state.extended(rows, found)

    def _call_rows(self, done: int) -> int:
        """Rows of the next call: by how many are measured, and fewer of a slow game.

        Many games answer a row of another batch with other last bits. Sizes that time decides only
        where it must let the same command give the same bits, also when it was stopped between.
        """
        measured = self.state.spent + done
        if not measured:
            return 1
        wanted = min(MOST_ROWS, max(FEWEST_ROWS, measured // SHARE_OF_MEASURED))
        slow = wanted * self._seconds > CALL_SECONDS
        return max(1, int(CALL_SECONDS / self._seconds)) if slow else wanted

    def _show(self, done: int) -> None:
        if self.update is None:
            return
        spent = self.state.spent + done
        elapsed = time.monotonic() - self._began
        rate = (spent - self._before) / elapsed if elapsed > 0 else 0.0
        left = (self.total - spent) / rate if rate > 0 else None
        self.update(Progress(spent, self.total, rate, left))

    def _save(
        self, rows: Bool[np.ndarray, "k n"], found: Float[np.ndarray, "d"], *, always: bool = False
    ) -> None:
        began, spent = time.monotonic(), self.state.spent + len(found)
        due = always or (began - self._saved_at) * SAVING_SHARE >= self._saving
        if self.file is None or spent == self._saved or not due:
            return
        self.file.write(self.state, rows, found, self._seconds)
        self._saved, self._saved_at = spent, time.monotonic()
        self._saving = self._saved_at - began


def asked(where: str, question: Callable[[], Answer]) -> Answer:
    """Returns the answer of a chooser; what it refuses is told as a user's error.

    Raises:
        UserError: if the question raises a ValueError.
    """
    try:
        return question()
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error


def check_deterministic(game: Game, state: State, where: str) -> None:
    """Asks a game for the full coalition again, if that was measured.

    Raises:
        UserError: if the answer differs.
    """
    places = np.flatnonzero(state.coalitions.all(axis=1))
    if not len(places):
        return
    first = float(state.utilities[places[0]])
    again = float(game(full(state.n)[None])[0])
    if abs(first - again) > SAME * max(abs(first), abs(again)):
        raise UserError(
            f"{where}: is not deterministic: the set of all players gave {first!r}, and {again!r}"
            " when it was measured again; fix its seeds, or average repeats (and start a new"
            " --state)"
        )
