"""The neural part of the surrogate: a miniature residual stream, layer by layer as the model's own.

A set of layers acts through what earlier layers left for later ones. So does this network: a
hidden state of a few numbers passes through the players in depth order, each of which adds its
own update to it if it is kept.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Bool, Float

from sampling import stream
from surrogate.ensemble.device import computing, cores

__all__ = [
    "MOST_STEPS",
    "Networks",
    "ResidualStream",
    "compile_training",
    "stream_output",
    "train_networks",
]

LEARNING_RATE = 1e-2
WARM_UP = 100
PENALTY = 1e-2  # of the squared weights, as that of one measurement's squared error
RIDGE = 1.0
MOST_STEPS = 2500


class ResidualStream(nnx.Module):
    """A masked residual network: ``h <- h + z_i tanh(h read_i + offset_i) write_i``.

    ``z_i`` is 1 where player ``i`` is kept. The output is linear in the last state, plus a linear
    function of the players themselves.
    """

    def __init__(self, players: int, width: int, rng: np.random.Generator) -> None:
        # Drawn by numpy: a generator of JAX's takes longer to compile than all else.
        def normal(scale: float, *shape: int) -> nnx.Param:
            return nnx.Param(np.asarray(scale * rng.normal(size=shape), np.float32))

        root = np.sqrt(width)
        self.start = normal(0.5, width)
        self.read = normal(0.5 / root, players, width, width)
        self.offset = normal(0.5, players, width)
        # Small updates let the linear part lead at first.
        self.write = normal(0.03 / root, players, width, width)
        self.out = nnx.Param(np.full(width, 1.0 / width, np.float32))
        self.linear = nnx.Param(np.zeros(players, np.float32))
        self.bias = nnx.Param(np.zeros((), np.float32))

    def __call__(self, kept: jax.Array) -> jax.Array:
        """Returns the target of each row of 0 and 1."""

        def layer(state, player):
            here, read, offset, write = player
            return state + here[:, None] * (jnp.tanh(state @ read + offset) @ write), None

        state = jnp.broadcast_to(self.start[...], (len(kept), len(self.start[...])))
        players = (kept.T, self.read[...], self.offset[...], self.write[...])
        state, _ = jax.lax.scan(layer, state, players)
        return state @ self.out[...] + self.bias[...] + (2.0 * kept - 1.0) @ self.linear[...]


@dataclass(frozen=True, eq=False)
class Networks:
    """Weights of ``k`` trained members of width ``w``; see `ResidualStream` for each.

    Attributes:
        start: first state.
        read: what each player reads of the state.
        offset: what it adds to that.
        write: what it writes.
        out: weights of the last state.
        linear: weights of the players' signs.
        bias: constant terms.
    """

    start: Float[np.ndarray, "k w"]
    read: Float[np.ndarray, "k n w w"]
    offset: Float[np.ndarray, "k n w"]
    write: Float[np.ndarray, "k n w w"]
    out: Float[np.ndarray, "k w"]
    linear: Float[np.ndarray, "k n"]
    bias: Float[np.ndarray, "k"]


def stream_output(weights: dict[str, jax.Array], kept: jax.Array) -> jax.Array:
    """Returns the members' mean output for each row of 0 and 1, in one program for all.

    Args:
        weights: fields of `Networks`.
        kept: ``[B, n]``.
    """

    def layer(state, player):
        here, read, offset, write = player
        hidden = jnp.tanh(jnp.einsum("kbw,kwv->kbv", state, read) + offset[:, None, :])
        return state + here[None, :, None] * jnp.einsum("kbv,kvw->kbw", hidden, write), None

    start = weights["start"]
    state = jnp.broadcast_to(start[:, None, :], (len(start), len(kept), start.shape[1]))
    by_player = [jnp.moveaxis(weights[name], 1, 0) for name in ("read", "offset", "write")]
    state, _ = jax.lax.scan(layer, state, (kept.T, *by_player))
    mean = jnp.einsum("kbw,kw->b", state, weights["out"]) / len(start)
    return mean + weights["bias"].mean() + (2.0 * kept - 1.0) @ weights["linear"].mean(axis=0)


def compile_training(rows: int, players: int, members: int, *, width: int, batch: int) -> Any:
    """Returns the compiled training of the members that one core trains, for so many rows or more.

    `train_networks` asks for it itself; whoever has other work to do first may ask beside it.

    Args:
        rows: of the training.
        players: how many.
        members: of all cores.
        width: of the state.
        batch: rows a step.
    """
    with _compiling:
        return _program(players, width, batch, _room(rows), -(-members // _lanes(members)))


def train_networks(
    coalitions: Bool[np.ndarray, "m n"],
    targets: Float[np.ndarray, "m"],
    weights: Float[np.ndarray, "k m"],
    *,
    seed: int,
    width: int,
    steps: int,
    batch: int,
) -> tuple[Networks, Float[np.ndarray, "k m"]]:
    """Trains one member a row of weights and returns them with their predictions of every row.

    A fold is a row of weights with zeros, so members share one compiled program. The number of
    rows is rounded up and the number of steps is no part of the program, so that a growing set of
    measurements is rarely compiled for again.

    Args:
        coalitions: True = kept.
        targets: about standardised.
        weights: of each row in each member's loss, not negative, some positive.
        seed: of the initial weights and the minibatches.
        width: of the state.
        steps: of Adam with a cosine schedule, at most ``MOST_STEPS``.
        batch: rows a step, drawn with replacement.
    """
    count, m = weights.shape
    room = _room(m)
    kept = np.zeros((room, coalitions.shape[1]), np.float32)
    kept[:m] = coalitions
    wanted = np.zeros(room, np.float32)
    wanted[:m] = targets
    share = np.zeros((count, room), np.float32)
    share[:, :m] = weights / weights.mean(axis=1, keepdims=True)
    lines = np.stack([_line(coalitions, targets, row) for row in weights]).astype(np.float32)
    rng = stream(seed, "surrogate networks")
    members = [_started(coalitions.shape[1], width, line, rng) for line in lines]
    states = {name: np.stack([member[name] for member in members]) for name in members[0]}
    order = rng.integers(m, size=(MOST_STEPS, batch), dtype=np.int32)
    lanes = _lanes(count)
    parts = [np.arange(count)[lane::lanes] for lane in range(lanes)]
    longest = max(map(len, parts))
    program = compile_training(m, coalitions.shape[1], count, width=width, batch=batch)

    def train(part: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        places = np.resize(part, longest)  # of equal length, for one compilation
        with computing():
            state, predicted = program(
                {name: array[places] for name, array in states.items()},
                kept,
                wanted,
                share[places],
                order,
                np.int32(m),
                np.int32(steps),
            )
            arrays = {name: np.asarray(array) for name, array in state.items()}
            return arrays, np.asarray(predicted, np.float64)

    with ThreadPoolExecutor(lanes) as pool:
        trained = list(pool.map(train, parts))
    back = np.argsort(np.concatenate(parts))
    arrays = {
        name: np.concatenate([t[0][name][: len(p)] for t, p in zip(trained, parts, strict=True)])
        for name in trained[0][0]
    }
    predicted = np.concatenate([t[1][: len(p)] for t, p in zip(trained, parts, strict=True)])
    return Networks(**{k: v[back] for k, v in arrays.items()}), predicted[back, :m]


def _room(rows: int) -> int:
    """Returns the rows of the program that trains on so many."""
    return max(128, 1 << (rows - 1).bit_length())


def _lanes(members: int) -> int:
    """Returns how many cores share the members: one's program is too small to share out."""
    return min(cores(), members)


def _line(
    coalitions: Bool[np.ndarray, "m n"],
    targets: Float[np.ndarray, "m"],
    weights: Float[np.ndarray, "m"],
) -> Float[np.ndarray, "n+1"]:
    """Returns the linear fit that a member starts from; its last entry is the constant."""
    columns = np.hstack([np.where(coalitions, 1.0, -1.0), np.ones((len(coalitions), 1))])
    share = weights / weights.mean()
    gram = (columns * share[:, None]).T @ columns
    gram[np.diag_indices(len(gram) - 1)] += RIDGE
    gram[-1, -1] += 1e-9
    return np.linalg.solve(gram, columns.T @ (share * targets))


def _started(
    players: int, width: int, line: Float[np.ndarray, "n+1"], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Returns the weights of a member that begins as a line."""
    member = ResidualStream(players, width, rng)
    state = nnx.to_pure_dict(nnx.state(member))
    return {name: np.asarray(array) for name, array in state.items()} | {
        "linear": line[:-1],
        "bias": line[-1],
    }


_compiling = Lock()  # whoever asks while it is compiled waits for that


@lru_cache(16)
def _program(players: int, width: int, batch: int, room: int, members: int) -> Any:
    """Returns the compiled training of some members, once for all threads."""
    one = _started(players, width, np.zeros(players + 1), np.random.default_rng(0))
    of = jax.ShapeDtypeStruct
    with computing():
        return (
            jax.jit(_train)
            .lower(
                {name: of((members, *part.shape), np.float32) for name, part in one.items()},
                of((room, players), np.float32),
                of((room,), np.float32),
                of((members, room), np.float32),
                of((MOST_STEPS, batch), np.int32),
                of((), np.int32),
                of((), np.int32),
            )
            .compile()
        )


def _train(
    states: dict[str, jax.Array],
    kept: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    order: jax.Array,
    rows: jax.Array,
    steps: jax.Array,
) -> tuple[dict[str, jax.Array], jax.Array]:
    width, players = states["start"].shape[1], kept.shape[1]
    graph = nnx.graphdef(ResidualStream(players, width, np.random.default_rng(0)))
    optimiser = optax.scale_by_adam()
    begin = jnp.minimum(WARM_UP, steps // 2)

    def output(state, kept):
        member = nnx.merge(graph, nnx.State(state))
        return member(kept)

    def rate(step):
        along = (step - begin) / jnp.maximum(steps - begin, 1)
        cosine = 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.clip(along, 0.0, 1.0)))
        return LEARNING_RATE * jnp.minimum((step + 1) / (begin + 1), cosine)

    def loss(state, weight, places):
        error = output(state, kept[places]) - targets[places]
        size = (state["read"] ** 2).sum() + (state["write"] ** 2).sum()
        return (weight[places] * error**2).mean() + PENALTY * size / rows

    gradient = jax.vmap(jax.grad(loss), in_axes=(0, 0, None))

    def step(number, carry):
        states, moments = carry
        slopes = gradient(states, weights, order[number])
        changes, moments = optimiser.update(slopes, moments)
        changes = jax.tree.map(lambda part: -rate(number) * part, changes)
        return optax.apply_updates(states, changes), moments

    states, _ = jax.lax.fori_loop(0, steps, step, (states, optimiser.init(states)))
    return states, jax.vmap(output, in_axes=(0, None))(states, kept)
