"""The paper that this project grows from, exactly as published, as a baseline.

Source: "Pruning as a Cooperative Game: Surrogate-Assisted Layer Contribution Estimation for Large
Language Models", ICLR 2026, arXiv 2602.07804. Masks uniform in five strata (30, 27, 24, 21 and 18
of 32 layers kept, 1,600 each), utility `PPL(dense) / PPL(mask)`, a perceptron n-2n-1 with CELU and
sigmoid trained for 300 epochs of SGD on the squared error with the settings of its authors for
8,000 masks (batches of 300, rate 0.008, momentum 0.9, a tenth of the rate after each 100 epochs),
the value of a layer the mean of `f(mask with it) - f(mask without it)` over 80,000 masks of the
same strata; layers are sorted once and the lowest removed.

With few masks those settings train too little for the values to be more than noise, so there is a
tuned way as well: batches of 32 and the rate that predicts a held-out fifth of the masks best.

What is scaled or cleaned here: strata in proportion to the number of players, at least one apart;
masks in proportion to the budget; masks are distinct, where the authors repeat those of a stratum
that has fewer than it is asked for (a stratum's mean still counts as much as any other's).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Bool, Float

from sampling import even_quotas, full, stratified, stream
from shapley.baselines import Found, Method, MethodContext, in_order
from shapley.game import Game
from surrogate.ensemble.device import computing

__all__ = [
    "AS_PUBLISHED",
    "METHOD",
    "TUNED_METHOD",
    "Training",
    "cooperative_game",
    "published_strata",
    "strata_values",
    "train_perceptron",
    "tuned_training",
]

STRATA = (2, 5, 8, 11, 14)
DEPTH = 32
EPOCHS = 300
MOMENTUM = 0.9
DECAY_EVERY = 100
MASKS_FOR_VALUES = 80_000
MASKS_PUBLISHED = 8000

Utility = Callable[[Bool[np.ndarray, "B n"]], Float[np.ndarray, "B"]]


@dataclass(frozen=True)
class Training:
    """Settings of SGD with momentum 0.9.

    Attributes:
        rate: learning rate.
        batch: rows a step.
        decay: factor of the rate after each 100 epochs.
    """

    rate: float
    batch: int
    decay: float


AS_PUBLISHED = Training(0.008, 300, 0.1)
TUNED = tuple(Training(rate, 32, 0.1) for rate in (0.03, 0.1, 0.3))


def cooperative_game(
    game: Game, counts: Iterable[int], budget: int, seed: int, *, tuned: bool = False
) -> Found:
    """Returns the sets of the published method from a budget of evaluations.

    Args:
        game: its utility is minus the NLL, in nats per token.
        counts: numbers of players to remove.
        budget: distinct coalitions to evaluate: the full one and the masks.
        seed: of masks, initial weights and batches.
        tuned: choose the training by held-out masks instead of taking the published one.

    Raises:
        ValueError: if a count cannot be reached or the budget holds no mask.
    """
    n = len(game.players)
    if budget < 2:
        raise ValueError(f"budget must be at least 2 evaluations, got {budget}; raise it")
    removals = published_strata(n)
    masks = stratified(n, even_quotas(n, removals, budget - 1), seed)
    utilities = np.asarray(game(np.concatenate([full(n)[None], masks])), dtype=np.float64)
    # A mask that overflows has no perplexity; its utility is that of an infinite one.
    ratios = np.exp(np.minimum(np.nan_to_num(utilities[1:] - utilities[0], nan=-np.inf), 700.0))
    training = tuned_training(masks, ratios, seed) if tuned else AS_PUBLISHED
    predict = train_perceptron(masks, ratios, training, seed)
    other = int(stream(seed, "masks of the published values").integers(2**31))
    drawn = stratified(n, even_quotas(n, removals, MASKS_FOR_VALUES), other)
    gone = (~drawn).sum(axis=1)
    values = strata_values(predict, [drawn[gone == removed] for removed in removals])
    return Found(in_order(np.argsort(values, kind="stable"), counts), len(masks) + 1)


def published_strata(n: int) -> list[int]:
    """Returns the published numbers of removed players scaled to ``n``, each more than the last.

    Raises:
        ValueError: if ``n`` is below 2.
    """
    if n < 2:
        raise ValueError(f"n must be at least 2 players, got {n}")
    found: list[int] = []
    for removed in STRATA:
        scaled = max(math.floor(removed * n / DEPTH + 0.5), found[-1] + 1 if found else 1)
        if scaled < n:
            found.append(scaled)
    return found


def strata_values(
    utility: Utility, strata: Sequence[Bool[np.ndarray, "B n"]]
) -> Float[np.ndarray, "n"]:
    """Returns the mean over strata of the mean of ``f(with i) - f(without i)`` over their masks."""
    n = strata[0].shape[1]
    values = np.zeros(n)
    for player in range(n):
        for masks in strata:
            present, absent = masks.copy(), masks.copy()
            present[:, player], absent[:, player] = True, False
            values[player] += (utility(present) - utility(absent)).mean() / len(strata)
    return values


def tuned_training(
    masks: Bool[np.ndarray, "m n"], utilities: Float[np.ndarray, "m"], seed: int
) -> Training:
    """Returns the settings that predict a held-out fifth of the masks best.

    Args:
        masks: measured coalitions, True = kept.
        utilities: one a mask.
        seed: of the split and of the trainings.
    """
    order = stream(seed, "held-out masks of the published way").permutation(len(masks))
    out, rest = order[: len(masks) // 5], order[len(masks) // 5 :]
    if not len(out):
        return AS_PUBLISHED
    errors = {}
    for training in TUNED:
        predicted = train_perceptron(masks[rest], utilities[rest], training, seed)(masks[out])
        errors[training] = float(((predicted - utilities[out]) ** 2).mean())
    return min(errors, key=errors.__getitem__)


def train_perceptron(
    masks: Bool[np.ndarray, "m n"],
    utilities: Float[np.ndarray, "m"],
    training: Training,
    seed: int,
) -> Utility:
    """Returns the published surrogate, trained: a function of coalitions.

    Args:
        masks: measured coalitions, True = kept.
        utilities: one a mask.
        training: settings of the optimiser and of the network.
        seed: of the weights and the batches.
    """
    m = len(masks)
    size = min(training.batch, m)
    steps = -(-m // size)
    rng = stream(seed, "batches of the published way")
    # The last batch of an epoch is filled up with rows of weight 0.
    order = np.zeros((EPOCHS, steps * size), dtype=np.int32)
    order[:, :m] = np.stack([rng.permutation(m) for _ in range(EPOCHS)])
    weights = (np.arange(steps * size) < m).astype(np.float32)
    decays = np.float32(training.decay) ** (np.arange(EPOCHS) // DECAY_EVERY)
    with computing():
        state = _train(
            jax.random.key(int(rng.integers(2**31))),
            masks.astype(np.float32),
            utilities.astype(np.float32),
            order.reshape(EPOCHS * steps, size),
            np.tile(weights.reshape(steps, size), (EPOCHS, 1)),
            np.repeat(training.rate * decays, steps).astype(np.float32),
        )

    return partial(_predicted, state)


class _Perceptron(nnx.Module):
    """n-2n-1 with CELU and sigmoid; initial weights uniform within 1 / sqrt(inputs)."""

    def __init__(self, players: int, *, rngs: nnx.Rngs) -> None:
        self.hidden = _linear(players, 2 * players, rngs)
        self.last = _linear(2 * players, 1, rngs)

    def __call__(self, rows: jax.Array) -> jax.Array:
        """Returns a utility in 0 .. 1 a row."""
        return nnx.sigmoid(self.last(nnx.celu(self.hidden(rows))))[..., 0]


def _linear(inputs: int, outputs: int, rngs: nnx.Rngs) -> nnx.Linear:
    bound = 1 / math.sqrt(inputs)

    def uniform(key: jax.Array, shape: Sequence[int], dtype: object = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, tuple(shape), jnp.float32, -bound, bound)

    return nnx.Linear(inputs, outputs, kernel_init=uniform, bias_init=uniform, rngs=rngs)


def _predicted(state: nnx.State, coalitions: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
    rows = np.asarray(coalitions, dtype=np.float32)
    # Sizes are rounded up, so that few programs are compiled.
    padded = np.zeros((max(1, 1 << (len(rows) - 1).bit_length()), rows.shape[1]), np.float32)
    padded[: len(rows)] = rows
    with computing():
        return np.asarray(_predict(state, padded))[: len(rows)].astype(np.float64)


def _graph(players: int) -> nnx.GraphDef:
    return nnx.graphdef(nnx.eval_shape(lambda: _Perceptron(players, rngs=nnx.Rngs(0))))


@jax.jit
def _predict(state: nnx.State, rows: jax.Array) -> jax.Array:
    return nnx.merge(_graph(rows.shape[1]), state)(rows)


@jax.jit
def _train(
    key: jax.Array,
    masks: jax.Array,
    targets: jax.Array,
    batches: jax.Array,
    weights: jax.Array,
    rates: jax.Array,
) -> nnx.State:
    players = masks.shape[1]
    graph = _graph(players)
    state = nnx.state(_Perceptron(players, rngs=nnx.Rngs(key)))
    optimiser = optax.trace(MOMENTUM)

    def loss(state, rows, weight):
        error = nnx.merge(graph, state)(masks[rows]) - targets[rows]
        return (weight * error**2).sum() / weight.sum()

    def step(carry, inputs):
        state, moments = carry
        rows, weight, rate = inputs
        slopes, moments = optimiser.update(jax.grad(loss)(state, rows, weight), moments)
        state = jax.tree.map(lambda value, slope: value - rate * slope, state, slopes)
        return (state, moments), None

    (state, _), _ = jax.lax.scan(step, (state, optimiser.init(state)), (batches, weights, rates))
    return state


def run_trained(tuned: bool) -> Callable[[MethodContext, Sequence[int]], Found]:
    """The method as published or with its training tuned, on no more masks than were published."""

    def run(context: MethodContext, counts: Sequence[int]) -> Found:
        budget = min(context.budget, MASKS_PUBLISHED + 1)
        found = cooperative_game(context.game("nll"), counts, budget, context.seed, tuned=tuned)
        note = f"{round(found.evaluations) - 1:,} masks (published: {MASKS_PUBLISHED:,})"
        return replace(found, note=note)

    return run


METHOD = Method(
    name="cooperative game",
    source="Pruning as a Cooperative Game: ICLR 2026, arXiv 2602.07804, as published",
    needs="evaluations of NLL, any number",
    kind="selects sets",
    metric="nll",
    spends=True,
    also=("parent-paper",),
    run=run_trained(tuned=False),
)

TUNED_METHOD = Method(
    name="cooperative game, tuned",
    source="Pruning as a Cooperative Game: ICLR 2026, arXiv 2602.07804, "
    "its training tuned on held-out masks",
    needs="evaluations of NLL, any number",
    kind="selects sets",
    metric="nll",
    spends=True,
    run=run_trained(tuned=True),
)
