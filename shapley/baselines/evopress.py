"""EvoPress: evolution of one set, its offspring sieved on more and more of the text.

Source: Sieberling et al., "EvoPress: Accurate Dynamic Model Compression via Evolutionary Search",
ICML 2025, arXiv 2410.14649, algorithm 1, with the settings that its authors give for depth
pruning: 64 random sets compared on 1/64 of the text, then k (n - k) / 1.5 generations of 32
offspring; the 2 best on 1/64 of the text meet their parent on 1/4 of it, and the best one stays.
Each selection draws other sequences. Fitness is the KL divergence to the dense model.

The authors prune equally many attention and MLP halves when both are players; here the count alone
is fixed, which includes their sets. Budget that is left after a run goes into further runs, which
they do not have; the winners of several runs are compared on the whole text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from sampling.coalitions import keys
from sampling.strata import draw_stratum
from sampling.streams import stream
from shapley.baselines.found import Found, checked_counts
from shapley.baselines.method import Method, MethodContext
from shapley.baselines.parts import PartialGame, PartMeter

__all__ = ["BY_DIVERGENCE", "BY_PERPLEXITY", "EvoPress", "evopress"]

TRIES_A_CHILD = 10


@dataclass(frozen=True)
class EvoPress:
    """Settings of the evolution; the defaults are the authors' for depth pruning.

    Attributes:
        offspring: children of a generation.
        initial: random sets, the fittest of which begins.
        initial_share: share of the text that they are compared on.
        survivors: sets left by each step of a selection; the last one must leave one.
        shares: share of the text at each step; the parent joins the last one.
        most_switches: players that change places in a child: the smaller of two uniform draws
            from 1 to this.
        generations: of a run; k (n - k) / 1.5 when omitted.

    Raises:
        ValueError: if the steps of the selection do not fit together.
    """

    offspring: int = 32
    initial: int = 64
    initial_share: float = 1 / 64
    survivors: tuple[int, ...] = (2, 1)
    shares: tuple[float, ...] = (1 / 64, 1 / 4)
    most_switches: int = 3
    generations: int | None = None

    def __post_init__(self) -> None:
        if len(self.survivors) != len(self.shares) or self.survivors[-1:] != (1,):
            raise ValueError("survivors must be as many as the shares and end with 1")
        if min(self.offspring, self.initial, self.most_switches, *self.survivors) < 1:
            raise ValueError("offspring, initial, survivors and most_switches must be at least 1")
        if not all(0 < share <= 1 for share in (self.initial_share, *self.shares)):
            raise ValueError("shares must be above 0 and at most 1")


def evopress(
    game: PartialGame,
    counts: Iterable[int],
    seed: int,
    budget: float | None = None,
    settings: EvoPress | None = None,
) -> Found:
    """Returns the set that evolution finds for each number of removals, each on its own.

    Args:
        game: its utility is minus the KL divergence to the dense model.
        counts: numbers of players to remove.
        seed: of every random choice.
        budget: evaluations on the whole text that may be paid, a part of the text counting in
            proportion and nothing twice. It is split evenly over the counts; what one leaves goes
            to the next. Omitted: one run a count with all its generations.
        settings: of the evolution.

    Raises:
        ValueError: if a count cannot be reached, or the budget is below one evaluation a count.
    """
    n, settings = len(game.players), settings or EvoPress()
    wanted = checked_counts(n, counts)
    if budget is not None and budget < len(wanted):
        raise ValueError(
            f"budget must be at least 1 evaluation for each of {len(wanted)} counts, got {budget:g}"
        )
    meter, sets = PartMeter(game), {}
    for place, count in enumerate(wanted):
        search = _Search(meter, count, settings, stream(seed, "EvoPress", count))
        if budget is None:
            row = search.run(math.inf)
        else:
            share = (budget * meter.parts - meter.paid) / (len(wanted) - place)
            row = search.several(math.floor(share))
        sets[count] = tuple(np.flatnonzero(~row).tolist())
    return Found(sets, meter.evaluations)


class _Search:
    """The evolution of the sets of one size."""

    def __init__(
        self, meter: PartMeter, count: int, settings: EvoPress, rng: np.random.Generator
    ) -> None:
        self.meter, self.count, self.settings, self.rng = meter, count, settings, rng
        self.n = len(meter.players)

    def several(self, allowance: int) -> Bool[np.ndarray, "n"]:
        """The winner of as many runs as an allowance of parts pays for."""
        meter, begin = self.meter, self.meter.paid
        whole = np.arange(meter.parts)
        best, best_fitness = None, -math.inf
        while True:
            before = meter.paid
            # Each winner is compared with the others on the whole text.
            left = allowance - (before - begin) - meter.parts
            if best is not None and left < meter.parts:
                return best
            row = self.run(left)
            fitness = float(meter(row[None], whole)[0])
            if best is None or fitness > best_fitness:
                best, best_fitness = row, fitness
            if meter.paid == before:  # nothing is left that was not seen
                return best

    def run(self, allowance: float) -> Bool[np.ndarray, "n"]:
        """One run within an allowance of parts."""
        settings, n, count = self.settings, self.n, self.count
        end = self.meter.paid + allowance
        first = draw_stratum(n, count, settings.initial, self.rng)
        kept = self._fittest(first, settings.initial_share, 1, end)
        parent = first[0] if kept is None else kept[0]
        generations = settings.generations
        if generations is None:
            generations = max(1, int(count * (n - count) / 1.5))
        for _ in range(generations if math.comb(n, count) > 1 else 0):
            rows = self._children(parent)
            last = len(settings.shares) - 1
            steps = zip(settings.survivors, settings.shares, strict=True)
            for step, (survivors, share) in enumerate(steps):
                if step == last:
                    rows = np.concatenate([parent[None], rows])
                kept = self._fittest(rows, share, survivors, end, all_of_them=step == last)
                if kept is None:
                    return parent
                rows = kept
            parent = rows[0]
        return parent

    def _fittest(
        self,
        rows: Bool[np.ndarray, "B n"],
        share: float,
        survivors: int,
        end: float,
        *,
        all_of_them: bool = False,
    ) -> Bool[np.ndarray, "s n"] | None:
        """The fittest on random sequences; None where the rest of the allowance does not pay.

        Without ``all_of_them`` those are compared that it pays for.
        """
        parts = self._parts(share)
        affordable = self.meter.paid + np.cumsum(self.meter.price(rows, parts)) <= end
        number = int(affordable.sum())  # prices are not negative
        if number == 0 or (all_of_them and number < len(rows)):
            return None
        fitness: Float[np.ndarray, "B"] = self.meter(rows[:number], parts)
        return rows[np.argsort(-fitness, kind="stable")[:survivors]]

    def _parts(self, share: float) -> Int[np.ndarray, "k"]:
        size = max(1, math.ceil(share * self.meter.parts - 1e-9))
        return np.sort(self.rng.choice(self.meter.parts, size=size, replace=False))

    def _children(self, parent: Bool[np.ndarray, "n"]) -> Bool[np.ndarray, "B n"]:
        """Distinct mutants of the parent, fewer where it has not as many."""
        found: dict[bytes, Bool[np.ndarray, "n"]] = {keys(parent[None])[0]: parent}
        for _ in range(TRIES_A_CHILD * self.settings.offspring):
            child = parent.copy()
            for _ in range(self.rng.integers(1, self.settings.most_switches + 1, size=2).min()):
                back = self.rng.choice(np.flatnonzero(~child))
                gone = self.rng.choice(np.flatnonzero(child))
                child[back], child[gone] = True, False
            found.setdefault(keys(child[None])[0], child)
            if len(found) > self.settings.offspring:
                break
        return np.stack(list(found.values()))[1:]


def run_by(metric: str) -> Callable[[MethodContext, Sequence[int]], Found]:
    """EvoPress with all of the budget, by one metric."""

    def run(context: MethodContext, counts: Sequence[int]) -> Found:
        # Fewer evaluations than counts would leave a count without a single set to compare.
        budget = max(context.budget, len(counts))
        game = context.parts(metric)
        found = evopress(game, counts, context.seed, budget)
        note = f"a share of the text is whole sequences, at least 1 of {game.parts}"
        return replace(found, note=note)

    return run


BY_DIVERGENCE = Method(
    name="EvoPress",
    source="Sieberling et al., ICML 2025, arXiv 2410.14649, algorithm 1",
    needs="evaluations of KL, any number",
    kind="selects sets",
    metric="kl",
    spends=True,
    run=run_by("kl"),
)

BY_PERPLEXITY = Method(
    name="EvoPress PPL",
    source="the same with the perplexity as fitness, the other choice of its authors' code",
    needs="evaluations of NLL, any number",
    kind="selects sets",
    metric="nll",
    spends=True,
    run=run_by("nll"),
)
