"""How long a run thinks while nothing is measured.

    python -m benchmarks.thinking_time --json FILE [--players 30,64,160]

A run asks a synthetic game that answers at once: rounds of the design, the surrogate's fit, the
values and how sure they are, interactions, and rounds of search up to the whole budget, as a run
of that many players would with its default counts. Seconds are those of the wall, so that waiting
threads count; nothing else should run beside it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from benchmarks.support.options import options_parser
from benchmarks.support.report_bars import Bar, write
from cluster import Column, Records
from layershap.stages.confidence import rankings, text_uncertainty
from layershap.stages.history import error_history
from layershap.stages.value_scale import Scale, on_scale
from sampling import stream, without
from shapley import FunctionGame, RetentionGame, State, restricted_values, start
from shapley.search import Limits, SetSearch, propose
from surrogate import SurrogateGame, SurrogateRegressor, evaluate
from surrogate.process.adaptive import AdaptiveValues
from surrogate.process.belief import ProcessLearner
from surrogate.process.interactions import learned_interactions

# Players: sets of the whole budget, and seconds of thinking at most.
RUNS = {30: (1_000, 25.0), 64: (2_560, 90.0), 160: (6_400, 360.0)}
# Of these, all rounds of search.
SEARCH = {30: 6.0, 64: 25.0, 160: 90.0}
SEARCH_SHARE = 0.2
SEQUENCES = 16
CANDIDATES = 4


def main() -> None:
    """Runs the benchmark."""
    parser = options_parser(__doc__, {"seed": (0, "of the games and the runs")})
    parser.add_argument("--players", default="30,64,160", help="sizes, of 30, 64, 160 [all]")
    options = parser.parse_args()
    known = {str(n): n for n in RUNS}
    if unknown := [text for text in options.players.split(",") if text not in known]:
        print(f"--players {unknown[0]}: unknown; sizes: {', '.join(known)}", file=sys.stderr)
        raise SystemExit(2)
    bars: list[Bar] = []
    raw: dict[str, Any] = {}
    for n in (known[text] for text in options.players.split(",")):
        budget, most = RUNS[n]
        print(f"{n} players, {budget:,} sets", flush=True)
        seconds = thinking_time(n, budget, options.seed)
        raw[str(n)] = seconds
        total = sum(seconds.values())
        searching = seconds["proposals of the surrogate"] + seconds["rounds of search"]
        for name, found, bar in (("all", total, most), ("search", searching, SEARCH[n])):
            title = f"{n} players, {budget:,} sets: {name}"
            bars.append(Bar(title, f"{found:.1f} s", f"under {bar:.0f} s", found < bar))
    write(options.json, bars, seconds=raw)


def thinking_time(n: int, budget: int, seed: int) -> dict[str, float]:
    """Seconds of every part of a run on a game of ``n`` players, by name of the part."""
    seconds: dict[str, float] = {}
    game, counts = layer_game(n, seed), tuple(range(1, n // 3 + 1))
    method, design = AdaptiveValues(), budget - int(SEARCH_SHARE * budget)
    kept, state = RetentionGame(game), start(game.players, seed)
    with _timed(seconds, "rounds of the design"):
        while state.spent < design and len(rows := method.propose(state, design - state.spent)):
            state = state.extended(rows, kept(rows))
    losses = game(state.coalitions)
    with _timed(seconds, "fit"):
        regressor = SurrogateRegressor(seed=seed, networks=False).fit(state.coalitions, losses)
    with _timed(seconds, "values"):
        learned = method.learn(state)
        values = method.report(state, learned)
    with _timed(seconds, "values within sets"):
        restricted_values(SurrogateGame(regressor, game.players), max(counts), seed=seed)
    whole = float(losses[state.coalitions.all(axis=1)][0])
    records = on_scale(_records(game, state, losses), Scale("retention", whole))
    with _timed(seconds, "uncertainty"):
        text = text_uncertainty(records, learned.operator, seed)
        rankings(values, counts, text, seed)
        list(error_history(state, values))
    with _timed(seconds, "interactions"):
        learned_interactions(learned, game.players, values.diagnostics.get("stretch", 1.0))
    state = start(game.players, seed).extended(state.coalitions, losses)
    state = _searched(game, state, regressor, counts, budget, seconds)
    with _timed(seconds, "fit to everything"):
        last = SurrogateRegressor(seed=seed).fit(state.coalitions, state.utilities)
    with _timed(seconds, "scores beside other learners"):
        evaluate(last, state.coalitions, state.utilities)
    return seconds


def layer_game(n: int, seed: int) -> FunctionGame:
    """A game like the layers of a model: pairs that do each other's work, and ruin far down."""
    rng = stream(seed, "game that answers at once", n)
    cost = rng.gamma(1.2, 0.3, n) * 12 / n
    cost[0] = 2.5
    pairs = 0.6 * np.sqrt(cost[:-1] * cost[1:]) * rng.uniform(0.2, 1.0, n - 1)
    triples = 0.25 * 12 / n * rng.uniform(0.0, 1.0, n - 2)

    def utility(coalitions: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        gone = 1.0 - coalitions
        damage = gone @ cost + (gone[:, :-1] * gone[:, 1:]) @ pairs
        damage += (gone[:, :-2] * gone[:, 1:-1] * gone[:, 2:]) @ triples
        return -3.0 - damage - np.exp(np.minimum(damage, 6.0)) / 8.0

    return FunctionGame(utility, n)


def _searched(
    game: FunctionGame,
    state: State,
    regressor: SurrogateRegressor,
    counts: tuple[int, ...],
    budget: int,
    seconds: dict[str, float],
) -> State:
    """Spends the rest of the budget on a search, as a run does: first what the surrogate says."""
    n, limits = len(game.players), Limits(len(game.players))
    with _timed(seconds, "proposals of the surrogate"):
        found = propose(
            SurrogateGame(regressor, game.players),
            counts,
            state.seed,
            per_count=2 * CANDIDATES + 4,
            limits=limits,
        )
    first = np.stack([without(n, one.removed) for sets in found.values() for one in sets[:2]])
    known = {row.tobytes() for row in state.coalitions}
    first = first[[row.tobytes() not in known for row in first]][: budget - state.spent]
    state = state.extended(first, game(first))
    search = SetSearch(ProcessLearner(), counts, limits, most_a_round=CANDIDATES * len(counts))
    with _timed(seconds, "rounds of search"):
        while state.spent < budget and len(rows := search.propose(state, budget - state.spent)):
            state = state.extended(rows, game(rows))
        search.result(state)
    return state


def _records(game: FunctionGame, state: State, losses: Float[np.ndarray, "m"]) -> Records:
    """The measurements as a run would have them, each utility the mean over some sequences."""
    noise = stream(state.seed, "sequences", state.n).normal(size=(state.spent, SEQUENCES))
    vectors = -losses[:, None] * (1.0 + 0.05 * (noise - noise.mean(axis=1)[:, None]))
    ones = np.ones(state.spent)
    return Records(
        players=game.players,
        coalitions=state.coalitions,
        utilities=losses,
        metrics={"nll": vectors.astype(np.float32)},
        columns=(Column("nll", (1,) * SEQUENCES, -1),),
        utility="nll",
        status=("ok",) * state.spent,
        times_measured=ones.astype(np.int64),
        seconds=ones,
    )


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    began, worked = time.perf_counter(), time.process_time()
    yield
    seconds[part] = time.perf_counter() - began
    worked = time.process_time() - worked
    print(f"{part}: {seconds[part]:.1f} s, of processors {worked:.1f} s", flush=True)


if __name__ == "__main__":
    main()
