"""How fast and how good the surrogate is.

    python -m benchmarks.surrogate_speed --json FILE [--quick]

Fits surrogates of a synthetic game of layers, times 1,000,000 predictions and the Shapley values
of a 32-player surrogate, and compares held-out quality with ridge regression on pairs and with
gradient boosting, all trained on the same coalitions.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from benchmarks.support.report_bars import Bar, write
from sampling import campaign_design, random_of_sizes, stream
from shapley import FunctionGame, surrogate_values
from surrogate.ensemble.device import cores
from surrogate.model.evaluation import gradient_boosting, ridge_pairs
from surrogate.model.game import SurrogateGame
from surrogate.model.regressor import SurrogateRegressor
from surrogate.model.scores import score

PREDICTIONS = 1_000_000
REPEATS = 5
MEASURED_PER_PLAYER = 25
LARGE, LARGE_MEASURED = 64, 1000
CALL_BUDGETS = (1 << 17, 1 << 19, 1 << 21)


def layer_game(n: int, seed: int) -> FunctionGame:
    """Returns a game that behaves like the layers of a language model, in nats per token.

    Each layer has its own cost, neighbours replace each other only in part, the loss saturates
    towards that of a uniform model, and without the first layer little works.
    """
    rng = stream(seed, "layer game", n)
    cost = rng.gamma(1.2, 0.12, n)
    cost[0], cost[-1] = 2.0, 0.6
    joint = np.zeros((n, n))
    for distance, strength in ((1, 0.45), (2, 0.22), (3, 0.11)):
        for i in range(n - distance):
            size = strength * np.sqrt(cost[i] * cost[i + distance])
            joint[i, i + distance] = size * rng.uniform(0.2, 1.0)
    joint[0] *= 0.3

    def utility(coalitions: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        gone = 1.0 - coalitions
        damage = gone @ cost + ((gone @ joint) * gone).sum(axis=1)
        damage += 0.1 * (gone[:, :-2] * gone[:, 1:-1] * gone[:, 2:]).sum(axis=1)
        loss = 2.0 + 7.0 * (1.0 - np.exp(-damage / 4.0))
        loss += gone[:, 0] * (1.5 + 0.8 * gone[:, 1] + 0.3 * np.sin(gone @ cost))
        return -loss

    return FunctionGame(utility, n)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where to write the results")
    parser.add_argument("--quick", action="store_true", help="leave out the table of quality")
    options = parser.parse_args()
    bars: list[Bar] = []
    extra: dict[str, object] = {"cores": cores(), "measured_per_player": MEASURED_PER_PLAYER}

    for n in (12, 32):
        game = layer_game(n, seed=1)
        regressor, seconds = _fit(game, MEASURED_PER_PLAYER * n)
        extra[f"fit_seconds_{n}"] = seconds
        times = _prediction_times(regressor, n)
        extra[f"prediction_seconds_{n}"] = times
        bars.append(
            Bar(
                f"{PREDICTIONS:,} predictions, {n} players, median of {REPEATS}",
                f"{statistics.median(times):.2f} s",
                "under 2 s",
                statistics.median(times) < 2.0,
            )
        )
        if n == 32:
            # The share of the values' own numbers is what is timed, the game compiled above.
            seconds, error, calls = _values(regressor, n)
            extra["values_32"] = {"seconds": seconds, "relative_error": error, "calls": calls}
            bars.append(
                Bar(
                    "values of a 32-player surrogate, largest standard error / largest value",
                    f"{100 * error:.2f} % in {seconds:.1f} s ({calls:,} calls)",
                    "below 1 % in under 10 s",
                    error < 0.01 and seconds < 10.0,
                )
            )
    _, seconds = _fit(layer_game(LARGE, seed=1), LARGE_MEASURED)
    extra["fit_seconds_large"] = seconds
    bars.append(
        Bar(
            f"fit of {LARGE_MEASURED:,} coalitions of {LARGE} players, programs not compiled",
            f"{seconds:.1f} s",
            "under 20 s",
            seconds < 20.0,
        )
    )
    if not options.quick:
        rows = quality(layer_game, players=24, seed=2)
        extra["quality"] = rows
        print(f"\n{'m':>6} {'surrogate':>10} {'ridge':>10} {'boosting':>10}   R² on 4,000 unseen")
        for row in rows:
            print(
                f"{row['m']:>6} {row['surrogate']:>10.4f} {row['ridge with pairs']:>10.4f}"
                f" {row['gradient boosting']:>10.4f}   fit {row['fit_seconds']:.1f} s"
            )
        late = [row for row in rows if row["m"] >= 10 * 24]
        best = {row["m"]: max(row["ridge with pairs"], row["gradient boosting"]) for row in late}
        margin = min(row["surrogate"] - best[row["m"]] for row in late)
        bars.append(
            Bar(
                "unseen R² minus the better baseline's, least from 10 n coalitions on",
                f"{margin:+.4f}",
                "above 0",
                margin > 0,
            )
        )
    write(options.json, bars, **extra)


def quality(
    make: Callable[[int, int], FunctionGame], players: int, seed: int
) -> list[dict[str, float]]:
    """Returns R² on unseen coalitions, spread over the sizes like the measured ones."""
    game = make(players, seed)
    unseen = _spread_evenly(players, 4000, seed + 1)
    truth = game(unseen)
    rows = []
    for factor in (5, 10, 25, 50):
        coalitions = campaign_design(players, factor * players, players // 2, seed).coalitions
        utilities = game(coalitions)
        start = time.perf_counter()
        regressor = SurrogateRegressor(seed=seed).fit(coalitions, utilities)
        row = {"m": float(len(coalitions)), "fit_seconds": time.perf_counter() - start}
        row["m"] = len(coalitions)
        predictions = {
            "surrogate": regressor.predict(unseen),
            "ridge with pairs": ridge_pairs(coalitions, utilities, unseen),
            "gradient boosting": gradient_boosting(coalitions, utilities, unseen),
        }
        for name, predicted in predictions.items():
            row[name] = score(predicted, truth).r2 or 0.0
        rows.append(row)
    return rows


def _fit(game: FunctionGame, m: int) -> tuple[SurrogateRegressor, float]:
    n = len(game.players)
    coalitions = campaign_design(n, m, n // 2, seed=3).coalitions
    utilities = game(coalitions)
    start = time.perf_counter()
    regressor = SurrogateRegressor().fit(coalitions, utilities)
    return regressor, time.perf_counter() - start


def _prediction_times(regressor: SurrogateRegressor, n: int) -> list[float]:
    rows = _spread_evenly(n, PREDICTIONS, seed=4)
    regressor.predict(rows)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        regressor.predict(rows)
        times.append(time.perf_counter() - start)
    return times


def _values(regressor: SurrogateRegressor, n: int) -> tuple[float, float, int]:
    """Returns seconds, relative error and calls of the first budget that is exact enough."""
    game = SurrogateGame(regressor)
    start = time.perf_counter()
    error, calls = float("inf"), 0
    for budget in CALL_BUDGETS:
        values = surrogate_values(game, n, budget, 5)
        errors = np.asarray(values.standard_errors)
        error = float(errors.max() / np.abs(values.values).max())
        calls += budget
        if error < 0.01:
            break
    return time.perf_counter() - start, error, calls


def _spread_evenly(n: int, count: int, seed: int) -> Bool[np.ndarray, "B n"]:
    rng = stream(seed, "unseen coalitions", n)
    return random_of_sizes(n, rng.integers(0, n + 1, count), rng)


if __name__ == "__main__":
    main()
