"""A search on a real model whose best sets are not known, beside every published method."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.report_bars import Bar
from benchmarks.support.sequence_game import PartsOf, SequenceGame
from decoder import ModelSpec, cut_sequences, load_model, load_tokenizer, make_roster, tokenise
from layershap.demo import MODEL_DIRECTORY
from layershap.demo.corpus import Split, split_text
from layershap.methods.catalog import BASELINES
from layershap.methods.context import RunContext, refusal, run_method
from sampling import without
from shapley import BudgetedGame, Game
from shapley.estimator import State, start
from shapley.search import FoundSets, Limits, SetSearch
from shapley.uncertainty.paired import paired_interval
from surrogate.process.belief import ProcessLearner

__all__ = ["A_PLAYER", "bars", "open_search"]

A_PLAYER = 40
TIMES = 2
SEQUENCES, HELDOUT_SEQUENCES, LENGTH = 8, 64, 256
Sets = dict[int, tuple[int, ...]]


def open_search(folder: Path, a_player: int = A_PLAYER, seed: int = 0) -> dict[str, Any]:
    """Searches the demo model's attention and MLP halves, for each count up to half of them.

    The search may use ``a_player`` evaluations a player; every published method that can spend any
    number gets twice what the search used, the others what they need. All of them see the same
    calibration text; the sets are then measured on the held-out text.

    Args:
        folder: keeps what each method found, for a benchmark that was interrupted.
        a_player: most evaluations of the search a player.
        seed: of all random choices.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spec = ModelSpec(str(MODEL_DIRECTORY))
    model, tokenizer = load_model(spec), load_tokenizer(spec)
    sizes: dict[Split, int] = {"calibration": SEQUENCES, "heldout": HELDOUT_SEQUENCES}
    texts = {
        split: cut_sequences(
            tokenise(tokenizer, split_text(split)), sequences=count, length=LENGTH, source=split
        ).tokens
        for split, count in sizes.items()
    }
    roster = make_roster("sublayers", model.config.num_hidden_layers)
    measured = SequenceGame(model, roster, texts["calibration"])
    n = len(roster.names)
    counts = tuple(range(1, n // 2 + 1))
    began = time.perf_counter()
    found, rounds = _searched(measured.game("nll"), counts, a_player * n, seed)
    seconds = time.perf_counter() - began
    ours: Sets = {count: found.sets[count][0].removed for count in counts}
    bench = RunContext(
        roster=roster,
        utility="nll",
        evaluation_tokens=dict.fromkeys(("nll", "kl", "top1"), texts["calibration"].size),
        tokens=texts["calibration"],
        budget=TIMES * found.spent,
        seed=seed,
        game=measured.game,
        parts=lambda metric: PartsOf(measured, metric),
        model=lambda: model,
    )
    rivals = _rivals(bench, counts, folder)
    methods = {"search": ours} | {name: one["sets"] for name, one in rivals.items()}
    heldout = SequenceGame(model, roster, texts["heldout"])
    losses = {
        text: {name: _losses(game, sets) for name, sets in methods.items()}
        for text, game in (("calibration", measured), ("heldout", heldout))
    }
    return {
        "players": n,
        "evaluations": found.spent,
        "settled": found.converged,
        "chances": found.chances,
        "rounds": rounds,
        "seconds": seconds,
        "tokens": {
            "search": found.spent * texts["calibration"].size,
            **{name: one["tokens"] for name, one in rivals.items()},
        },
        "sets": methods,
        "calibration": _means(losses["calibration"]),
        "heldout": _means(losses["heldout"]),
        "against_chosen": _against(losses["heldout"], losses["calibration"], counts),
        "against_best": _against(losses["heldout"], losses["heldout"], counts),
    }


def bars(found: Mapping[str, Any]) -> list[Bar]:
    """No rival better on the calibration text; as good held out as the one that it would choose."""
    leads = list(_leads(found["calibration"]).values())
    against = found["against_chosen"].values()
    median = float(np.median([one["difference"] for one in against]))
    worse = sum(one["lower"] > 0 for one in against)
    hindsight = [one["difference"] for one in found["against_best"].values()]
    halves = f"{found['players']} halves"
    return [
        Bar(f"{halves}: least lead, calibration, nats/token", min(leads), ">= 0", min(leads) >= 0),
        Bar(f"{halves}: counts at which the rival is surely better held out", worse, 0, worse == 0),
        Bar(
            f"{halves}: median difference to the rival, held out, nats/token",
            median,
            "< 0",
            median < 0,
        ),
        Bar(
            f"{halves}: the same to the rival that is best in hindsight",
            float(np.median(hindsight)),
            "shown",
            True,
        ),
    ]


def _leads(means: Mapping[str, Mapping[int, float]]) -> dict[int, float]:
    """By count, how much more the best rival's set costs."""
    rivals = [by_count for name, by_count in means.items() if name != "search"]
    return {
        count: min(by_count[count] for by_count in rivals) - own
        for count, own in means["search"].items()
    }


def _searched(game: Game, counts: Sequence[int], budget: int, seed: int) -> tuple[FoundSets, int]:
    """What the search finds, and in how many rounds."""
    counted = BudgetedGame(game, budget)
    search = SetSearch(ProcessLearner(), tuple(counts), Limits(len(game.players)))
    state: State = start(game.players, seed)
    rounds = 0
    while len(rows := search.propose(state, budget - state.spent)):
        state = state.extended(rows, counted(rows))
        rounds += 1
        print(f"search round {rounds}: {state.spent} of at most {budget}", flush=True)
    return search.result(state), rounds


def _rivals(bench: RunContext, counts: Sequence[int], folder: Path) -> dict[str, dict[str, Any]]:
    """Sets and tokens of every published method that can run here and drops what it removes."""
    found = {}
    for baseline in BASELINES:
        if (reason := refusal(baseline, bench, counts)) is not None:
            print(reason, flush=True)
            continue
        kept = folder / f"{baseline.slug}-{bench.budget}-{bench.seed}.json"
        if not kept.exists():
            began = time.perf_counter()
            result = run_method(baseline, bench, counts)
            content = {
                "sets": {str(count): list(removed) for count, removed in result.sets.items()},
                "tokens": result.tokens,
            }
            kept.write_text(json.dumps(content) + "\n", encoding="utf-8")
            print(f"{baseline.name}: {time.perf_counter() - began:.0f} s", flush=True)
        content = json.loads(kept.read_text(encoding="utf-8"))
        sets = {int(count): tuple(removed) for count, removed in content["sets"].items()}
        found[baseline.name] = {"sets": sets, "tokens": content["tokens"]}
    return found


def _losses(game: SequenceGame, sets: Sets) -> dict[int, np.ndarray]:
    """Negative log-likelihood of every sequence, by count."""
    rows = np.array([without(len(game.players), removed) for removed in sets.values()])
    nll = game.metric("nll", rows, np.arange(len(game.tokens)))
    return dict(zip(sets, nll, strict=True))


def _means(losses: Mapping[str, Mapping[int, np.ndarray]]) -> dict[str, dict[int, float]]:
    return {
        name: {count: float(nll_S.mean()) for count, nll_S in by_count.items()}
        for name, by_count in losses.items()
    }


def _against(
    losses: Mapping[str, Mapping[int, np.ndarray]],
    chosen_by: Mapping[str, Mapping[int, np.ndarray]],
    counts: Sequence[int],
) -> dict[int, dict[str, Any]]:
    """Ours minus the rival that is best on one of the texts.

    Chosen on the calibration text it is the rival that a person would have taken; chosen on the
    very text that they are compared on, the choice among so many favours the rival.
    """
    found = {}
    for count in counts:
        rivals = {name: by[count] for name, by in chosen_by.items() if name != "search"}
        best = min(rivals, key=lambda name: float(rivals[name].mean()))
        apart = losses["search"][count] - losses[best][count]
        mean, lower, upper = paired_interval(apart, np.ones(len(apart)))
        found[count] = {"rival": best, "difference": mean, "lower": lower, "upper": upper}
    return found
