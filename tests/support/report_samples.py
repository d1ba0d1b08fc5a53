"""Reports of a quadratic toy game, every figure computed from the game."""

from __future__ import annotations

import itertools
import math

import numpy as np

from layershap.report import (
    BaselineSet,
    Dense,
    FitScore,
    PairedDifference,
    PlayerValues,
    Provenance,
    Recommendation,
    Report,
    SurrogateFit,
    TaskScore,
    TextCost,
    TextFacts,
)
from layershap.results.estimate import Estimate
from layershap.results.frontier import OWN, WHOLE, FrontierPoint, marked
from sampling import random_of_sizes, stream

DENSE_NLL = 2.653
A_LAYER = 3_150_000
OUTSIDE = 9_400_000


class QuadraticCost:
    """Cost of removing a set: linear terms, pairs, and a constant on nothing."""

    def __init__(self, n: int, seed: int) -> None:
        rng = stream(seed, "quadratic cost", n)
        depth = np.linspace(0, 1, n)
        self.linear = (
            0.02 + 0.9 * np.exp(-6 * depth) + 0.15 * depth**4 + 0.05 * rng.random(n) - 0.01
        )
        pairs = np.triu(rng.normal(0.0, 0.36 / n, (n, n)), 1)
        pairs[np.abs(np.subtract.outer(np.arange(n), np.arange(n))) == 1] *= 3
        self.pairs = np.triu(pairs, 1) + np.triu(pairs, 1).T
        self.n = n

    def __call__(self, removed: np.ndarray) -> np.ndarray:
        gone = np.asarray(removed, dtype=float)
        quadratic = 0.5 * np.einsum("bi,ij,bj->b", gone, self.pairs, gone)
        return gone @ self.linear + quadratic

    def of(self, players: tuple[int, ...]) -> float:
        gone = np.zeros((1, self.n))
        gone[0, list(players)] = 1
        return float(self(gone)[0])

    def shapley(self) -> np.ndarray:
        """Closed form: a pair's term is split between its two players."""
        return self.linear + 0.5 * self.pairs.sum(axis=1)

    def cheapest(self, size: int) -> tuple[int, ...]:
        if math.comb(self.n, size) <= 20_000:
            return min(itertools.combinations(range(self.n), size), key=self.of)
        return self.greedy(size)

    def greedy(self, size: int) -> tuple[int, ...]:
        found: tuple[int, ...] = ()
        for _ in range(size):
            rest = [player for player in range(self.n) if player not in found]
            found += (min(rest, key=lambda player: self.of((*found, player))),)
        return tuple(sorted(found))

    def lowest(self, scores: np.ndarray, size: int) -> tuple[int, ...]:
        return tuple(sorted(int(player) for player in np.argsort(scores)[:size]))


def sample_report(
    n: int = 12,
    *,
    seed: int = 7,
    model: str = "demo-12",
    rivals: bool = True,
    speeds: bool = True,
    intervals: bool = True,
    surrogate: bool = True,
    texts: bool = False,
    tasks: bool = False,
    warnings: tuple[str, ...] = (),
) -> Report:
    cost = QuadraticCost(n, seed)
    rng = stream(seed, "sample report", n)
    parameters = n * A_LAYER + OUTSIDE

    def estimate(value: float, error: float) -> Estimate:
        if not intervals:
            return Estimate(value)
        return Estimate(value, value - 1.96 * error, value + 1.96 * error)

    def speed(size: int, noise: float) -> Estimate | None:
        ratio = (n + 3) / (n + 3 - size) + noise
        return Estimate(ratio, ratio - 0.015, ratio + 0.02) if speeds else None

    influence = cost.linear + rng.normal(0, 0.05, n)
    recommendations = []
    for size in range(1, min(n, 9) if n > 3 else 3):
        removed = cost.cheapest(size)
        others = {
            "greedy on the real model": cost.greedy(size),
            "single ablation": cost.lowest(cost.linear, size),
            "Block Influence": cost.lowest(influence, size),
            "reverse order": tuple(range(n - 1 - size, n - 1)),
        }
        value = cost.of(removed)
        best = min(others, key=lambda name: cost.of(others[name]))
        apart = value - cost.of(others[best])
        recommendations.append(
            Recommendation(
                removed=removed,
                difference=estimate(value, 0.004 + 0.02 * value),
                parameters_saved=size * A_LAYER,
                command=f"layershap export runs/demo --remove {','.join(map(str, removed))}"
                f" --to pruned-{size}",
                kl=0.6 * value,
                top1=math.exp(-0.7 * value),
                prefill=speed(size, 0.01),
                decoding=speed(size, -0.02),
                rivals=tuple(
                    BaselineSet(
                        name,
                        chosen,
                        estimate(cost.of(chosen), 0.004 + 0.02 * cost.of(chosen)),
                        speed(size, -0.02),
                    )
                    for name, chosen in others.items()
                )
                if rivals
                else (),
                against=PairedDifference(best, others[best], estimate(apart, 0.003 * (apart != 0)))
                if rivals
                else None,
                texts=tuple(
                    TextCost(name, tokens, estimate(factor * value, 0.01))
                    for name, tokens, factor in (("manual", 20_480, 0.8), ("news", 20_480, 1.2))
                )
                if texts
                else (),
                tasks=(TaskScore("piqa.acc", 0.7 - 0.1 * value, estimate(-0.1 * value, 0.01)),)
                if tasks
                else (),
            )
        )

    sizes = rng.integers(1, min(n, 11) if n > 3 else n, 400)
    masks = random_of_sizes(n, sizes, stream(seed, "removed sets", n))
    measured = -DENSE_NLL - cost(masks)
    predicted = measured + rng.normal(0, 0.06 * measured.std(), len(measured))
    rows = masks.sum(axis=1)
    learners = {
        "surrogate": predicted,
        "ridge with pairs": measured + rng.normal(0, 0.1 * measured.std(), len(measured)),
        "gradient boosting": measured + rng.normal(0, 0.35 * measured.std(), len(measured)),
    }
    scores = [_score(name, None, guess, measured) for name, guess in learners.items()] + [
        _score(name, int(size), guess[rows == size], measured[rows == size])
        for size in np.unique(rows)
        for name, guess in learners.items()
    ]
    shapley = cost.shapley()
    restricted = cost.linear + 0.25 * cost.pairs.sum(axis=1) / max(1, n - 1)
    return Report(
        model=model,
        players=tuple(f"L{index}" for index in range(n)),
        calibration=TextFacts("the Python manual", 32_768),
        held_out=TextFacts("unseen pages of the Python manual", 40_960),
        dense=Dense(
            DENSE_NLL,
            parameters,
            Estimate(10_420.0, 10_300, 10_560) if speeds else None,
            Estimate(214.0, 209, 219) if speeds else None,
        ),
        recommendations=tuple(recommendations),
        values=(
            PlayerValues(
                "Shapley value",
                "Averaged over every number of removed layers.",
                tuple(estimate(float(x), 0.02) for x in shapley),
            ),
            PlayerValues(
                "Shapley value, at most 4 removed",
                "Averaged over light pruning only, the range that deployment uses.",
                tuple(estimate(float(x), 0.01) for x in restricted),
            ),
        ),
        provenance=Provenance(
            command="layershap run --out runs/demo --seed 7",
            seed=seed,
            fingerprint="9f2c41e07ab85d31",
            config='[measure]\nbudget = 512\nseed = 7\n\n[model]\nname = "demo"\n',
            date="2025-11-22",
            seconds=1093.4,
            device="CPU, 2 cores",
            versions=(("layershap", "0.1.0"), ("torch", "2.13.0"), ("jax", "0.10.2")),
        ),
        spent=512,
        budget=512,
        surrogate=SurrogateFit(
            removed=tuple(int(x) for x in rows),
            measured=tuple(measured.tolist()),
            predicted=tuple(predicted.tolist()),
            scores=tuple(scores),
            coverage=0.912,
        )
        if surrogate
        else None,
        interactions=tuple(tuple(row) for row in (-cost.pairs).tolist()),
        warnings=warnings,
        frontier=frontier_of(recommendations, n, parameters),
    )


def frontier_of(
    recommendations: list[Recommendation], n: int, parameters: int
) -> tuple[FrontierPoint, ...]:
    """The points of recommendations and rivals, the whole model first."""

    def point(method, found, count):
        return FrontierPoint(
            method=method,
            count=count,
            removed=found.removed,
            names=",".join(map(str, found.removed)),
            loss=found.difference,
            parameters=parameters - count * A_LAYER,
            parameter_share=1 - count * A_LAYER / parameters,
            prefill=getattr(found, "prefill", None),
            decode=found.decoding,
        )

    whole = FrontierPoint(WHOLE, 0, (), "", Estimate(0.0), parameters, 1.0)
    points = [whole]
    for item in recommendations:
        points.append(point(OWN, item, item.size))
        points += [point(rival.method, rival, item.size) for rival in item.rivals]
    return tuple(marked(points))


def _score(name: str, size: int | None, guess: np.ndarray, truth: np.ndarray) -> FitScore:
    error = guess - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    varies = len(truth) > 2 and spread > 0
    apart = np.argsort(np.argsort(guess)) - np.argsort(np.argsort(truth))
    m = len(truth)
    return FitScore(
        name,
        size,
        m,
        1 - float(error @ error) / spread if varies else None,
        1 - 6 * float(apart @ apart) / (m * (m * m - 1)) if varies else None,
        float(np.abs(error).mean()),
    )
