"""Toy evaluators with exact values, some of which end badly."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import sampling
from cluster import Campaign, Column, Ledger

PLAYERS = tuple(f"layer{index}" for index in range(6))
TOKENS = (10, 30, 20)
COLUMNS = (Column("nll", TOKENS, -1), Column("kl", TOKENS, -1), Column("top1", TOKENS))


def nll(coalitions):
    """Sums of small integers over powers of two: exact in float32, whatever the batch."""
    worth = np.arange(1, coalitions.shape[1] + 1)
    lost = (~coalitions @ worth).astype(np.float32)
    return lost[:, None] * np.array([1, 2, 4], np.float32) / 64 + 1


def metrics(coalitions):
    """All columns of the toy campaign."""
    values = nll(coalitions)
    return {"nll": values, "kl": values / 2, "top1": np.ones_like(values)}


def utility(coalitions):
    worth = np.arange(1, coalitions.shape[1] + 1)
    return -(1 + (~coalitions @ worth) * (10 * 1 + 30 * 2 + 20 * 4) / 60 / 64)


def campaign(ledger: Ledger, **details) -> Campaign:
    return ledger.open_campaign(
        "calibration", "f" * 8, PLAYERS, COLUMNS, {"model": "toy", **details}
    )


@dataclass(frozen=True)
class Toy:
    """A factory of toy evaluators.

    hurry: a file that ends all sleeping once it is there.
    deadly: a key that kills the process, as often as there is room in the file ``deaths``.
    """

    seconds_each: float = 0.0
    hurry: Path = Path()
    nan: bytes = b""
    deadly: tuple[tuple[bytes, int], ...] = ()
    deaths: Path = Path()
    broken_factory: bool = False
    fatal_factory: bool = False
    broken_measure: bool = False

    def __call__(self):
        if self.broken_factory:
            raise ValueError("no such model: toy/13b")
        if self.fatal_factory:
            os._exit(1)
        return ToyEvaluator(self)


class ToyEvaluator:
    def __init__(self, toy: Toy) -> None:
        self.toy = toy

    def measure(self, coalitions):
        keys = sampling.keys(coalitions)
        for key, times in self.toy.deadly:
            if key in keys:
                log = self.toy.deaths / key.hex()
                died = log.stat().st_size if log.exists() else 0
                if died < times:
                    with log.open("ab") as file:
                        file.write(b".")
                    os._exit(1)
        if self.toy.broken_measure:
            raise IndexError("layer 99 does not exist")
        for _ in coalitions:
            if not self.toy.hurry.is_file():
                time.sleep(self.toy.seconds_each)
        found = metrics(coalitions)
        for name in ("nll", "kl"):
            found[name][[key == self.toy.nan for key in keys]] = np.nan
        return found


def table(ledger: Ledger):
    """What was measured, without who measured it and when."""
    records = campaign(ledger).read()
    return (
        sampling.keys(records.coalitions),
        records.status,
        records.utilities.tobytes(),
        *(records.metrics[column.name].tobytes() for column in COLUMNS),
    )
