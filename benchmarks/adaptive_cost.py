"""What adaptive choice and prices of shared prefixes save, in layer evaluations.

    python -m benchmarks.adaptive_cost --json FILE [--players 24] [--seeds 5]

A synthetic game of layers (`benchmarks.surrogate_speed.layer_game`) whose values are known from
all `2^n` coalitions is estimated four ways. Coalitions of one round share prefixes, as in the
masked model's walk: a round costs its distinct prefixes and one head a coalition.

pairs, regression: complement pairs drawn independently of what is known, all in one round, and
    the weighted regression on them.
pairs, process: the same coalitions, values of the Gaussian process.
adaptive: coalitions chosen by the process, each counted alike.
adaptive by cost: coalitions chosen by the process for each layer evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import gammaln

from benchmarks.support.options import options_parser
from benchmarks.support.report_bars import Bar, write
from benchmarks.surrogate_speed import layer_game
from decoder import count_layer_evaluations
from sampling import empty, full
from sampling.coalitions import enumerate_all
from sampling.pairs import paired
from sampling.prefix_costs import PrefixCosts
from shapley import FunctionGame, State, fit_regression, start
from shapley.indices.exact import exact_values
from surrogate.process.adaptive import AdaptiveValues

_BUDGETS = "5,7,10,14,20,28,40,57,80"
_HEAD = 1.0

Values = Float[np.ndarray, "n"]
Round = tuple[State, float]


def main() -> None:
    """Runs the benchmark."""
    sizes = {"players": (24, "players, at most 24"), "seeds": (5, "repetitions")}
    parser = options_parser(__doc__, sizes)
    parser.add_argument("--budgets", default=_BUDGETS, help="coalitions a player [%(default)s]")
    options = parser.parse_args()
    budgets = [int(each) * options.players for each in options.budgets.split(",")]
    game = layer_game(options.players, seed=1)
    truth = _truth(game)
    curves = {
        name: _mean([curve(game, budgets, truth, seed) for seed in range(options.seeds)])
        for name, curve in _WAYS.items()
    }
    print(f"{'evaluations':38}" + "".join(f"{budget:>10}" for budget in budgets))
    for name, (costs, errors) in curves.items():
        print(f"{name + ', layer evaluations':38}"[:38] + "".join(f"{c:10.0f}" for c in costs))
        print(f"{name + ', nMSE':38}"[:38] + "".join(f"{e:10.1e}" for e in errors))
    bars = []
    for name, other, most in (
        ("adaptive", "pairs, regression", 0.5),
        ("adaptive", "pairs, process", 1.0),
        ("adaptive by cost", "pairs, process", 1.0),
    ):
        share = _share(curves[name], curves[other])
        text = f"layer evaluations of '{name}' for the accuracy of '{other}'"
        bars.append(Bar(text, share, f"at most {most}", share <= most))
    raw = {name: {"costs": list(c), "errors": list(e)} for name, (c, e) in curves.items()}
    write(options.json, bars, curves=raw, players=options.players, seeds=options.seeds)


def _truth(game: FunctionGame) -> Values:
    n = len(game.players)
    if n <= 22:
        return exact_values(game).values
    # All coalitions at once would not fit: their weighted utilities are summed in chunks.
    total = np.zeros(n)
    low = enumerate_all(16)
    weight = _weights(n)
    for high in enumerate_all(n - 16):
        rows = np.concatenate([low, np.broadcast_to(high, (len(low), n - 16))], axis=1)
        utilities = game(rows)
        size = rows.sum(axis=1)
        inside = utilities * weight[np.maximum(size - 1, 0)]
        outside = utilities * np.where(size < n, weight[np.minimum(size, n - 1)], 0.0)
        total += inside @ rows - outside @ ~rows
    return total


def _weights(n: int) -> Float[np.ndarray, "n"]:
    size = np.arange(n)
    return np.exp(gammaln(size + 1.0) + gammaln(n - size) - gammaln(n + 1.0))


def _walk(rows: Bool[np.ndarray, "B n"]) -> float:
    """Distinct prefixes of kept layers, and a head for each coalition."""
    return count_layer_evaluations(rows) + _HEAD * len(rows)


def _pairs(game: FunctionGame, budgets: Sequence[int], seed: int) -> Iterator[Round]:
    n = len(game.players)
    rows = np.concatenate([full(n)[None], empty(n)[None], paired(n, max(budgets), seed)])
    for budget in budgets:
        part = rows[:budget]
        yield start(game.players, seed).extended(part, game(part)), _walk(part)


def _chosen(
    game: FunctionGame, budgets: Sequence[int], seed: int, estimator: AdaptiveValues
) -> Iterator[Round]:
    state, cost = start(game.players, seed), 0.0
    for budget in budgets:
        while len(rows := estimator.propose(state, budget - state.spent)):
            cost += _walk(rows)
            state = state.extended(rows, game(rows))
        yield state, cost


def _curve(
    rounds: Iterator[Round], values_of: Callable[[State], Values], truth: Values
) -> tuple[list[float], list[float]]:
    costs, errors = [], []
    for state, cost in rounds:
        found = values_of(state)
        costs.append(cost)
        errors.append(float(((found - truth) ** 2).sum() / (truth**2).sum()))
    return costs, errors


def _by_process(state: State) -> Values:
    return AdaptiveValues().learn(state).values


def _by_regression(state: State) -> Values:
    return fit_regression(state.coalitions, state.utilities, state.n).values


Way = Callable[[FunctionGame, Sequence[int], Values, int], tuple[list[float], list[float]]]
_WAYS: dict[str, Way] = {
    "pairs, regression": lambda g, b, t, s: _curve(_pairs(g, b, s), _by_regression, t),
    "pairs, process": lambda g, b, t, s: _curve(_pairs(g, b, s), _by_process, t),
    "adaptive": lambda g, b, t, s: _curve(_chosen(g, b, s, AdaptiveValues()), _by_process, t),
    "adaptive by cost": lambda g, b, t, s: _curve(
        _chosen(g, b, s, AdaptiveValues(costs=_prices)), _by_process, t
    ),
}


def _prices(pool: Bool[np.ndarray, "N n"]) -> PrefixCosts:
    return PrefixCosts(pool, head=_HEAD)


def _mean(
    runs: list[tuple[list[float], list[float]]],
) -> tuple[Float[np.ndarray, "b"], Float[np.ndarray, "b"]]:
    costs, errors = np.array(runs).transpose(1, 0, 2)
    return costs.mean(axis=0), np.exp(np.log(errors).mean(axis=0))


def _share(ours: tuple[np.ndarray, np.ndarray], others: tuple[np.ndarray, np.ndarray]) -> float:
    """Geometric mean of our cost over theirs at the accuracies that both reach."""
    costs, errors = (np.log(part) for part in ours)
    ratios = []
    for cost, error in zip(*others, strict=True):
        wanted = np.log(error)
        if errors.min() <= wanted <= errors.max():
            ratios.append(np.interp(-wanted, -errors, costs) - np.log(cost))
    return float(np.exp(np.mean(ratios))) if ratios else float("nan")


if __name__ == "__main__":
    main()
