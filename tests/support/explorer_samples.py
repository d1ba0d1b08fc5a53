"""Finished run directories of a toy game of layers, written with the real ledger and surrogate."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np

from cluster import Column, Ledger
from decoder.players import make_roster
from layershap.results.paired_results import PairedResult, RepairedCost
from layershap.results.recommendations import (
    RECOMMENDATIONS,
    BaselineVariant,
    DenseModel,
    Recommendations,
    Speed,
    VerifiedVariant,
)
from layershap.results.value_text import SHARE_UNIT
from layershap.results.values import VALUES, Values
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory
from sampling import enumerate_all, stream
from shapley import RetentionGame, exact_values
from surrogate import SurrogateRegressor, save

TEXT, OTHER_TEXT = 1.0, 1.02
MEASURED = 120


class LayerLoss:
    """Loss of a toy model: layers matter unlike, and neighbours stand in for each other.

    As with language models, something is left that no smooth function explains.
    """

    def __init__(self, players: tuple[str, ...]) -> None:
        n = len(players)
        self.players = players
        self.linear = 0.1 + 0.5 * stream(3, "toy layers", n).random(n)
        self.pairs = 0.3 * np.eye(n, k=1)
        self.rough = 0.1 * stream(4, "toy roughness", n).normal(size=1 << n)

    def loss(self, coalitions: np.ndarray) -> np.ndarray:
        gone = (~coalitions).astype(float)
        extra = gone @ self.linear + np.einsum("bi,ij,bj->b", gone, self.pairs, gone)
        places = coalitions @ (1 << np.arange(len(self.players)))
        return 2.5 + extra + 0.05 * extra**2 + self.rough[places]

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        return -self.loss(coalitions)


def sample_run(path: Path, kind: str = "layers", depth: int = 9, protect: str = "") -> RunDirectory:
    """Write what the stages of a run leave, the report apart; layers have values of retention."""
    directory = RunDirectory(path)
    directory.create()
    directory.write_config(RunConfig.of(players=kind, protect=protect or None))
    roster = make_roster(kind, depth, protect)
    game = LayerLoss(roster.names)
    n = len(roster.names)
    every = enumerate_all(n)
    chosen = stream(1, "toy measured").permutation(len(every))[:MEASURED]
    singles = ~np.eye(n, dtype=bool)
    rows = np.unique(np.vstack([every[chosen], singles, np.ones((1, n), bool)]), axis=0)
    details = {"players": kind, "depth": depth, "protected": ",".join(roster.protected)}
    with Ledger(directory.ledger) as ledger:
        columns = [Column("nll", (64, 64), -1)]
        campaign = ledger.open_campaign("calibration", "toy", roster.names, columns, details)
        loss = np.repeat(game.loss(rows)[:, None], 2, axis=1).astype(np.float32)
        campaign.record(rows, {"nll": loss})
        records = campaign.read()
    regressor = SurrogateRegressor(steps=60, folds=4, seed=1)
    save(regressor.fit(records.coalitions, records.utilities), directory.surrogate)
    values, none = exact_values(game), ((0.0,) * n,) * n
    found = Values("toy", "nats per token", "nll", values, values, 2, none)
    if kind == "layers":
        of_retention = RetentionGame(game)
        values = exact_values(of_retention)
        found = Values(
            "toy", SHARE_UNIT, "nll", values, values, 2, none, value_of="retention",
            whole_utility=of_retention.whole,
        )  # fmt: skip
    VALUES.write(path, found)
    RECOMMENDATIONS.write(path, _recommendations(game))
    return directory


def _recommendations(game: LayerLoss) -> Recommendations:
    n = len(game.players)
    whole = OTHER_TEXT * float(game.loss(np.ones((1, n), bool))[0])
    items = []
    for count in (1, 2):
        sets = list(itertools.combinations(range(n), count))
        kept = np.ones((len(sets), n), bool)
        for row, removed in enumerate(sets):
            kept[row, list(removed)] = False
        losses = OTHER_TEXT * game.loss(kept)
        order = np.argsort(losses)
        best, other = (_verified(sets[k], float(losses[k]), whole) for k in order[:2])
        items.append(
            VerifiedVariant(
                count=count,
                names=",".join(map(str, best["removed"])),
                export="layershap export RUN",
                against_best=None,
                source="beam",
                parameters_saved=50,
                baselines=(BaselineVariant(method="greedy", **other),),
                repair=_repaired(best["difference"]) if count == 2 else None,
                **best,
            )
        )
    dense = DenseModel(
        nll=whole, difference=0.0, difference_lower=0.0, difference_upper=0.0, parameters=200
    )
    return Recommendations("toy", "toy text", 100, "layer", game.players, dense, tuple(items))


def _verified(removed: tuple[int, ...], loss: float, whole: float) -> dict[str, Any]:
    return {
        "removed": removed,
        "nll": loss,
        "perplexity": math.exp(loss),
        "difference": loss - whole,
        "difference_lower": loss - whole - 0.01,
        "difference_upper": loss - whole + 0.01,
        "speed": Speed(1.0, 1.0, (1.0, 1.1, 1.2), (1.0, 1.15, 1.2), 150),
    }


def _repaired(cost: float) -> RepairedCost:
    return RepairedCost(
        difference=cost / 2,
        lower=cost / 2 - 0.01,
        upper=cost / 2 + 0.01,
        method="sequential",
        gain=PairedResult(difference=-cost / 2, lower=-cost / 2 - 0.02, upper=-cost / 2 + 0.02),
        text="toy calibration text",
        tokens=4096,
        seconds=1.0,
    )
