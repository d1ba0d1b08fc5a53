"""A real tiny model offered to published methods, with nothing beyond what they declare."""

from __future__ import annotations

from typing import Any

import numpy as np

from decoder import MaskedModel, make_roster
from sampling import keys
from shapley import FunctionGame
from shapley.baselines import OWN_UTILITY, Found, Method
from tests.support.tiny_models import VOCABULARY, tiny_model

__all__ = ["KINDS", "StrictContext"]

KINDS = {"layers": "layers", "sublayers": "sublayers", "blocks": "blocks:2"}
TOKENS = np.random.default_rng(0).integers(2, VOCABULARY, size=(3, 12))
SIGNS = {"nll": -1.0, "kl": -1.0, "top1": 1.0}


class StrictContext:
    """A context that refuses what a method has not declared, and counts what it asks for."""

    utility = "top1"

    def __init__(self, method: Method[Any], kind: str, seed: int = 0, budget: int = 12) -> None:
        self.method, self.seed = method, seed
        self.own_model = tiny_model("llama")
        self.own_roster = make_roster(KINDS[kind], 5)
        self.own_budget = budget
        self.measured = MaskedModel(tiny_model("llama"), TOKENS, roster=self.own_roster)
        self.asked: set[tuple[bytes, int]] = set()

    def run(self, counts: list[int]) -> Found:
        """What the method finds."""
        if self.method.check is not None:
            self.method.check(self, counts)
        return self.method.run(self, counts)

    @property
    def evaluations(self) -> float:
        """Distinct pairs of a coalition and a sequence that were asked for, in whole texts."""
        return len(self.asked) / len(TOKENS)

    @property
    def players(self):
        return len(self.own_roster.names)

    @property
    def layers(self):
        return self.own_roster.layers

    @property
    def depth(self):
        return self.own_roster.depth

    @property
    def roster(self):
        assert self.method.passes, "who plays is only for methods that look inside"
        return self.own_roster

    @property
    def tokens(self):
        assert self.method.passes, "passes are not declared"
        return TOKENS

    def model(self):
        assert self.method.passes, "passes are not declared"
        return self.own_model

    @property
    def budget(self):
        assert self.method.spends, "a budget is not declared"
        return self.own_budget

    def game(self, metric):
        parts = self.parts(metric)
        every = np.arange(len(TOKENS))
        return FunctionGame(lambda rows: parts(rows, every), self.own_roster.names)

    def parts(self, metric):
        declared = self.method.metric
        assert metric == (self.utility if declared == OWN_UTILITY else declared), "not declared"
        return _Parts(self, metric)


class _Parts:
    """One metric on single sequences."""

    parts = len(TOKENS)

    def __init__(self, context: StrictContext, metric: str) -> None:
        self.context, self.metric = context, metric
        self.players = context.own_roster.names

    def __call__(self, coalitions, parts, /):
        names = keys(coalitions)
        self.context.asked |= {(name, part) for name in names for part in parts.tolist()}
        found = self.context.measured.measure(coalitions)[self.metric]
        return SIGNS[self.metric] * found[:, parts].mean(axis=1, dtype=np.float64)
