"""The file that keeps what was measured of a game, so that the same command goes on from there."""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from layershap.errors import UserError
from layershap.games.tables import MappedTable
from sampling import pack, unpack
from shapley.estimator import State, start
from shapley.game import Game

__all__ = ["Kept", "MeasuredFile", "identity"]

FORMAT = "layershap measured 1"
HASHED_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Kept:
    """What a file holds.

    Attributes:
        state: everything measured.
        due: coalitions that the estimator had proposed and that were not measured yet.
        seconds: that a coalition took, 0 if that is not known.
    """

    state: State
    due: Bool[np.ndarray, "k n"]
    seconds: float = 0.0


@dataclass(frozen=True)
class MeasuredFile:
    """One file for one game, method and seed.

    Attributes:
        path: a ``.npz`` file, written whole each time.
        game: which game it is, see :func:`identity`.
        players: names.
        method: name of the estimator: the coalitions that one chose are no sample for another.
        seed: of every random choice.
    """

    path: Path
    game: str
    players: tuple[str, ...]
    method: str
    seed: int

    def read(self) -> Kept:
        """Returns what the file holds; nothing measured if it is not there.

        Raises:
            UserError: if it is damaged, or belongs to something else.
        """
        if not self.path.exists():
            nothing = np.empty((0, len(self.players)), dtype=bool)
            return Kept(start(self.players, self.seed), nothing)
        content = self._content()
        mine = self._header()
        for name, what in (
            ("format", "another kind of file"),
            ("game", "another game"),
            ("players", "other players"),
            ("seed", "another seed"),
            ("method", "another method"),
        ):
            kept = content[name].tolist()
            if kept != mine[name].tolist():
                shown = "" if name in ("players", "format") else f" ({kept})"
                raise UserError(
                    f"--state {self.path}: is of {what}{shown}; name another file, or remove this"
                    " one to start anew"
                )
        rows, due = self._unpacked(content["coalitions"]), self._unpacked(content["due"])
        try:
            state = start(self.players, self.seed).extended(rows, content["utilities"])
            state.extended(due, np.zeros(len(due)))  # what is due was not measured
            seconds = float(content["seconds"])
        except (ValueError, TypeError):
            raise self._damaged() from None
        return Kept(state, due, seconds)

    def write(
        self,
        state: State,
        rows: Bool[np.ndarray, "k n"],
        utilities: Float[np.ndarray, "d"],
        seconds: float = 0.0,
    ) -> None:
        """Writes a state, the first ``d`` utilities of proposed rows, and the rows still due.

        Args:
            state: measured before.
            rows: what the estimator proposed then.
            utilities: of the first of them.
            seconds: that a coalition took.

        Raises:
            UserError: if the file cannot be written.
        """
        done = len(utilities)
        partial = self.path.with_name(self.path.name + ".part")
        try:
            with partial.open("wb") as file:
                np.savez(
                    file,
                    **self._header(),
                    coalitions=pack(np.concatenate([state.coalitions, rows[:done]])),
                    utilities=np.concatenate([state.utilities, utilities]),
                    due=pack(rows[done:]),
                    seconds=np.array(seconds),
                )
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)
        except OSError as error:
            raise UserError(
                f"--state {self.path}: cannot be written ({error.strerror}); name another file"
            ) from None

    def _header(self) -> dict[str, Any]:
        return {
            "format": np.array(FORMAT),
            "game": np.array(self.game),
            "players": np.array(self.players),
            "method": np.array(self.method),
            "seed": np.array(self.seed),
        }

    def _content(self) -> dict[str, np.ndarray]:
        names = {*self._header(), "coalitions", "utilities", "due", "seconds"}
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as found:
                return {name: found[name] for name in names}
        except OSError as error:
            if error.strerror:
                raise UserError(f"--state {self.path}: cannot be read ({error.strerror})") from None
            raise self._damaged() from None
        except (ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile):
            raise self._damaged() from None

    def _unpacked(self, packed: np.ndarray) -> Bool[np.ndarray, "m n"]:
        if packed.dtype != np.uint8:
            raise self._damaged()
        try:
            return unpack(packed, len(self.players))
        except ValueError:
            raise self._damaged() from None

    def _damaged(self) -> UserError:
        return UserError(
            f"--state {self.path}: damaged, or no file of this command; name another file, or"
            " remove this one to start anew"
        )


def identity(game: Game, name: str) -> str:
    """Returns what tells a game from others: of a table the digest of its utilities.

    A function has only its name: a changed one is found out when the full coalition is measured
    again.
    """
    if not isinstance(game, MappedTable):
        return name
    digest = hashlib.sha256()
    for at in range(0, len(game.table), HASHED_AT_ONCE):
        digest.update(np.asarray(game.table[at : at + HASHED_AT_ONCE], dtype="<f8").tobytes())
    return f"table {digest.hexdigest()}"
