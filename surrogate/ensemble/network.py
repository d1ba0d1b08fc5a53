"""The neural part of the surrogate: many small networks, trained as one array program."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Float, Int

from shapley.regression.pairwise_ridge import PairwiseRidge
from surrogate.ensemble.device import computing

__all__ = ["Member", "Networks", "train_networks"]

LEARNING_RATE = 3e-3
WARM_UP = 50
# Penalties of (pair terms, network weights), all trained at once and mixed by held-out error:
# the weak ones suit the smooth games of language models, the strong one noise.
PENALTIES = ((1e-4, 3e-5), (1e-3, 3e-4), (1e-2, 3e-3))


class Member(nnx.Module):
    """Linear and pairwise terms plus a multilayer perceptron with two hidden layers."""

    def __init__(self, players: int, width: int, *, rngs: nnx.Rngs) -> None:
        self.bias = nnx.Param(jnp.zeros(()))
        self.linear = nnx.Param(jnp.zeros(players))
        self.pairs = nnx.Param(jnp.zeros((players, players)))
        self.first = nnx.Linear(players, width, rngs=rngs)
        self.second = nnx.Linear(width, width, rngs=rngs)
        self.last = nnx.Linear(width, 1, use_bias=False, rngs=rngs)

    def __call__(self, signs: jax.Array) -> jax.Array:
        """Returns the standardised utility of each row of scaled signs."""
        pairs = jnp.triu(self.pairs[...], 1)
        smooth = self.bias[...] + signs @ self.linear[...] + ((signs @ pairs) * signs).sum(-1)
        hidden = jnp.tanh(self.first(signs))
        hidden = jnp.tanh(self.second(hidden))
        return smooth + self.last(hidden)[..., 0]


@dataclass(frozen=True, eq=False)
class Networks:
    """Weights of trained members in the coordinates of the signs; ``k`` members, width ``w``.

    Attributes:
        bias: constant terms.
        linear: linear terms.
        pairs: pairwise terms, strictly upper triangular.
        first: weights of the first hidden layer.
        first_bias: its biases.
        second: weights of the second hidden layer.
        second_bias: its biases.
        last: weights of the output.
        setting: which regularisation setting each member has.
    """

    bias: Float[np.ndarray, "k"]
    linear: Float[np.ndarray, "k n"]
    pairs: Float[np.ndarray, "k n n"]
    first: Float[np.ndarray, "k n w"]
    first_bias: Float[np.ndarray, "k w"]
    second: Float[np.ndarray, "k w w"]
    second_bias: Float[np.ndarray, "k w"]
    last: Float[np.ndarray, "k w"]
    setting: Int[np.ndarray, "k"]


def train_networks(
    signs: Float[np.ndarray, "m n"],
    targets: Float[np.ndarray, "m"],
    weights: Float[np.ndarray, "k m"],
    scales: Float[np.ndarray, "k n"],
    starts: list[PairwiseRidge],
    settings: Int[np.ndarray, "k"],
    *,
    rng: np.random.Generator,
    width: int,
    steps: int,
    batch: int,
) -> tuple[Networks, Float[np.ndarray, "k m"]]:
    """Trains ``k`` members at once and returns them with their predictions of every row.

    A fold is a row of 0/1 weights, so members and folds share one leading axis, one ``vmap``
    and one compiled program. Shapes are rounded up, so that a growing set of measurements does
    not compile again each time.

    Args:
        signs: -1 for a removed player, 1 for a kept one.
        targets: standardised utilities.
        weights: of each row in each member's loss.
        scales: each member's input scales: a player that matters more is given a larger input,
            so that the network sees it first.
        starts: the quadratic fit that each member starts from.
        settings: index into the regularisation settings.
        rng: source of the initial weights and the minibatches.
        width: of both hidden layers.
        steps: of Adam with a cosine schedule.
        batch: rows a step.
    """
    m, n = signs.shape
    room = max(batch, 1 << (m - 1).bit_length())
    padded = np.zeros((room, n), np.float32)
    padded[:m] = signs
    wanted = np.zeros(room, np.float32)
    wanted[:m] = targets
    share = np.zeros((len(weights), room), np.float32)
    share[:, :m] = weights
    epochs = -(-steps * batch // m)
    order = np.concatenate([rng.permutation(m) for _ in range(epochs)])[: steps * batch]
    linear = np.stack([s.linear for s in starts]) / scales
    pairs = np.stack([s.pairs for s in starts]) / (scales[:, :, None] * scales[:, None, :])
    bias = np.array([s.bias for s in starts])
    with computing():
        state, predictions = _train(
            jax.random.key(int(rng.integers(2**31))),
            padded,
            wanted,
            share,
            scales.astype(np.float32),
            bias.astype(np.float32),
            linear.astype(np.float32),
            pairs.astype(np.float32),
            np.array(PENALTIES, np.float32)[settings],
            order.reshape(steps, batch).astype(np.int32),
            width=width,
        )
        arrays = jax.tree.map(np.asarray, nnx.to_pure_dict(state))
        predicted = np.asarray(predictions, np.float64)[:, :m]
    networks = Networks(
        bias=arrays["bias"],
        linear=arrays["linear"] * scales.astype(np.float32),
        pairs=np.triu(
            arrays["pairs"] * (scales[:, :, None] * scales[:, None, :]).astype(np.float32), 1
        ),
        first=arrays["first"]["kernel"] * scales.astype(np.float32)[:, :, None],
        first_bias=arrays["first"]["bias"],
        second=arrays["second"]["kernel"],
        second_bias=arrays["second"]["bias"],
        last=arrays["last"]["kernel"][..., 0],
        setting=np.asarray(settings, np.int32),
    )
    return networks, predicted


@partial(jax.jit, static_argnames=("width",))
def _train(
    key: jax.Array,
    signs: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    scales: jax.Array,
    bias: jax.Array,
    linear: jax.Array,
    pairs: jax.Array,
    penalties: jax.Array,
    batches: jax.Array,
    *,
    width: int,
) -> tuple[Any, jax.Array]:
    players, steps = signs.shape[1], len(batches)

    def start(key, bias, linear, pairs):
        member = Member(players, width, rngs=nnx.Rngs(key))
        member.bias[...], member.linear[...], member.pairs[...] = bias, linear, pairs
        # A small output lets the quadratic part lead at first.
        member.last.kernel[...] = 0.1 * member.last.kernel[...]
        return nnx.state(member)

    graph = nnx.graphdef(nnx.eval_shape(lambda: Member(players, width, rngs=nnx.Rngs(0))))
    states = jax.vmap(start)(jax.random.split(key, len(weights)), bias, linear, pairs)

    def loss(state, scale, weight, penalty, rows, wanted):
        member = nnx.merge(graph, state)
        error = member(rows * scale) - wanted
        fit = (weight * error**2).sum() / jnp.maximum(weight.sum(), 1e-6)
        kernels = (member.first.kernel, member.second.kernel, member.last.kernel)
        size = sum((kernel[...] ** 2).sum() for kernel in kernels)
        return fit + penalty[0] * (member.pairs[...] ** 2).sum() + penalty[1] * size

    optimiser = optax.adam(
        optax.warmup_cosine_decay_schedule(0.0, LEARNING_RATE, min(WARM_UP, steps // 2), steps),
        b2=0.99,
    )
    gradient = jax.vmap(jax.grad(loss), in_axes=(0, 0, 0, 0, None, None))

    def step(carry, rows):
        states, moments = carry
        slopes = gradient(states, scales, weights[:, rows], penalties, signs[rows], targets[rows])
        changes, moments = optimiser.update(slopes, moments)
        return (optax.apply_updates(states, changes), moments), None

    (states, _), _ = jax.lax.scan(step, (states, optimiser.init(states)), batches)
    predict = jax.vmap(lambda state, scale: nnx.merge(graph, state)(signs * scale))
    return states, predict(states, scales)
