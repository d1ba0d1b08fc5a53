"""A game in a file: the utilities of all coalitions, read where they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from layershap.errors import UserError
from layershap.games.names import fitting_names

__all__ = ["MappedTable", "unsound"]

MOST_PLAYERS = 24  # 128 MiB of float64
CHECKED_AT_ONCE = 1 << 20
LARGEST = 1e150  # squares and sums stay finite


class MappedTable:
    """A game given by a file of ``2^n`` utilities, read where it is asked."""

    def __init__(self, path: Path, players: Sequence[str] | int | None = None) -> None:
        """Opens the file and checks that it holds a game.

        Args:
            path: a ``.npy`` file of real numbers in one dimension; bit ``i`` of a position tells
                whether player ``i`` is kept.
            players: names, or how many there are; ``p0, p1, ...`` when omitted.

        Raises:
            UserError: if the file cannot be read, or does not hold ``2^n`` finite real numbers
                (``n`` from 1 to 24), or the names do not fit.
        """
        table, where = _mapped(path), f"--table {path}"
        if table.ndim != 1:
            raise UserError(
                f"{where}: must have one dimension, got shape {list(table.shape)};"
                " give one utility for each set, bit i of its position = player i is kept"
            )
        if table.dtype.kind not in "fiub":
            raise UserError(
                f"{where}: must hold real numbers, got {table.dtype}; save it as float64"
            )
        n = table.size.bit_length() - 1
        if n < 1 or table.size != 1 << n:
            raise UserError(
                f"{where}: must hold 2^n utilities, got {table.size:,};"
                " give one for each of the sets of n players"
            )
        if n > MOST_PLAYERS:
            raise UserError(
                f"{where}: holds {n} players, the most is {MOST_PLAYERS};"
                " give a function with --game instead"
            )
        _check_finite(table, where)
        self.players = fitting_names(players, n)
        self.table = table
        self._powers = 1 << np.arange(n, dtype=np.int64)

    def __call__(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B"]:
        """Looks the utilities up."""
        return np.asarray(self.table[coalitions @ self._powers], dtype=np.float64)


def unsound(utilities: Float[np.ndarray, "B"]) -> Int[np.ndarray, "b"]:
    """Returns the positions of utilities that are not finite or too large to be added up."""
    return np.flatnonzero(~(np.abs(utilities) < LARGEST))


def _mapped(path: Path) -> np.ndarray:
    where = f"--table {path}"
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise UserError(f"{where}: not found; name a .npy file") from None
    except OSError as error:
        raise UserError(f"{where}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # a damaged header fails in many ways
        if "Python objects" in str(error):
            reason = "it holds Python objects, which are never unpickled"
        elif path.stat().st_size == 0:
            reason = "it is empty"
        else:
            reason = "it is no .npy file, or a damaged one"
        raise UserError(f"{where}: {reason}; save utilities with numpy.save") from None


def _check_finite(table: np.ndarray, where: str) -> None:
    for at in range(0, len(table), CHECKED_AT_ONCE):
        part = np.asarray(table[at : at + CHECKED_AT_ONCE], dtype=np.float64)
        bad = unsound(part)
        if len(bad):
            raise UserError(
                f"{where}: must hold finite utilities below {LARGEST:g}, got"
                f" {part[bad[0]]:g} at position {at + bad[0]}; measure or replace it"
            )
