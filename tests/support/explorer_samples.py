"""Finished run directories of a toy game of layers, written with the real ledger and surrogate."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np

from cluster import Column, Ledger
from decoder.players import make_roster
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory
from sampling import enumerate_all, stream
from shapley import exact_values
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
    """Write what the stages of a run leave, the report apart."""
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
    regressor = SurrogateRegressor(steps=60, members=3, width=16, folds=4, seed=1)
    save(regressor.fit(records.coalitions, records.utilities), directory.surrogate)
    directory.write_json(directory.values, {"shapley": exact_values(game).to_dict()})
    directory.write_json(directory.recommendations, _recommendations(game))
    return directory


def _recommendations(game: LayerLoss) -> dict[str, object]:
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
        items.append({**best, "baselines": [{"method": "greedy", **other}]})
    return json.loads(json.dumps({"recommendations": items}))


def _verified(removed: tuple[int, ...], loss: float, whole: float) -> dict[str, object]:
    return {
        "removed": list(removed),
        "nll": loss,
        "perplexity": math.exp(loss),
        "difference": loss - whole,
        "difference_lower": loss - whole - 0.01,
        "difference_upper": loss - whole + 0.01,
        "speed": {"prefill_ratio": [1.0, 1.1, 1.2], "decode_ratio": [1.0, 1.15, 1.2]},
    }
