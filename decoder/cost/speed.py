"""Measured speed and memory of smaller models beside the dense one.

All variants take turns in every round, in an order drawn anew each time, so that a machine that
speeds up or slows down does so for all of them; a variant's ratio to dense is taken inside each
round. Variants of one architecture do the same work on other weights: one of them is timed for
all, so that noise never ranks them. A first round that is not timed warms up and measures memory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import binom

from decoder.cost.decoding import cut_prompt, decode, prefill
from decoder.cost.occupancy import Occupancy, measure_occupancy
from decoder.errors import ModelError
from decoder.model.loading import first_line
from decoder.model.structure import find_stack
from decoder.surgery.apply import applied, owners_for
from decoder.surgery.edit import Edits
from sampling import stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Speed", "Untimed", "architecture", "measure_speed", "median_interval"]

_LEAST_ROUNDS = 6  # fewer have no 95 % interval of the median


class Untimed(ModelError):
    """A variant cannot read a prompt or decode with a cache in stock code.

    Attributes:
        variants: the edits of all of this architecture; no edits are the whole model.
    """

    def __init__(self, variants: tuple[Edits, ...], kind: str, error: Exception) -> None:
        super().__init__(
            f"model type {kind}: decoding fails in transformers "
            f"({type(error).__name__}: {first_line(error)})"
        )
        self.variants = variants


@dataclass(frozen=True)
class Speed:
    """Speed and memory of one variant: medians over the rounds.

    Attributes:
        edits: what makes the variant, as it was given.
        prefill: prompt tokens per second.
        decode: generated tokens per second, one sequence, with a cache.
        prefill_ratio, decode_ratio: the same divided by dense, (25 %, median, 75 %) over rounds.
        parameters: parameters that remain.
        prefill_interval, decode_interval: 95 % interval of the ratio's median; None with fewer
            than 6 rounds.
        latency_ms: milliseconds a generated token, (25 %, median, 75 %) over rounds.
        parameter_bytes: of the parameters that remain.
        cache_bytes: keys, values and states of one sequence after prompt and new tokens.
        cache_bytes_per_token: by how much they grow with each token, at that length.
        peak_bytes: weights and the most that was allocated beside them at one time, cache
            included; None on devices other than CPU and CUDA.
        prompt_tokens, new_tokens: what was read and decoded.
        rounds: timed rounds.
    """

    edits: Edits
    prefill: float
    decode: float
    prefill_ratio: tuple[float, float, float]
    decode_ratio: tuple[float, float, float]
    parameters: int
    prefill_interval: tuple[float, float] | None
    decode_interval: tuple[float, float] | None
    latency_ms: tuple[float, float, float]
    parameter_bytes: int
    cache_bytes: int
    cache_bytes_per_token: float
    peak_bytes: int | None
    prompt_tokens: int
    new_tokens: int
    rounds: int


def measure_speed(
    model: PreTrainedModel,
    variants: Sequence[Edits],
    tokens: Int[np.ndarray, "S T"],
    *,
    rounds: int = 15,
    new_tokens: int = 16,
    progress: Callable[[int, int], None] | None = None,
    target: float | None = None,
) -> list[Speed]:
    """Time the dense model and smaller ones, in turns.

    Args:
        model: the dense model; it is whole again afterwards.
        variants: the edits of each; the dense model is added first.
        tokens: the first sequence is the prompt, cut so that the new tokens fit the context.
        rounds: timed rounds after one to warm up; the most of them where there is a target.
        new_tokens: tokens decoded a round.
        progress: called with (rounds done, rounds in all).
        target: stop when the 95 % interval of every median ratio is at most this share of it to
            either side on average, 0.02 say.

    Returns:
        One `Speed` for the dense model (edits = ()), then one a variant; the same numbers for
        variants of one architecture.

    Raises:
        Untimed: a variant cannot be run; the model is whole again.
        ValueError: fewer than 1 round, a target that is not above 0 or that the rounds cannot
            tell, no tokens, or new tokens that do not fit the context.
    """
    if rounds < 1:
        raise ValueError(f"rounds: at least 1 is needed, got {rounds}")
    if target is not None and not (target > 0 and rounds >= _LEAST_ROUNDS):
        raise ValueError(
            f"target: must be above 0, with at least {_LEAST_ROUNDS} rounds to tell, got "
            f"{target} with {rounds} rounds"
        )
    prompt_1T = cut_prompt(model, tokens, new_tokens)
    every = [(), *variants]
    owners = owners_for(model, chain.from_iterable(every))
    alike: dict[Hashable, list[Edits]] = {}
    for edits in every:
        with applied(model, edits, owners=owners):
            alike.setdefault(architecture(model), []).append(edits)
    seconds: list[Float[np.ndarray, "V 2"]] = []
    sizes: list[Occupancy] = []
    chance = stream(0, "order of timing")
    tell = progress or (lambda done, total: None)
    for same in alike.values():
        with applied(model, same[0], owners=owners):
            try:
                _time_once(model, prompt_1T, new_tokens)
                sizes.append(measure_occupancy(model, prompt_1T, new_tokens))
            except Exception as error:  # whatever stock code raises over a model it cannot run
                raise Untimed(tuple(same), model.config.model_type, error) from error
    tell(1, rounds + 1)
    timed = [same[0] for same in alike.values()]
    while len(seconds) < rounds and not _settled(seconds, target):
        row = np.zeros((len(timed), 2))
        for column in chance.permutation(len(timed)):
            with applied(model, timed[column], owners=owners):
                row[column] = _time_once(model, prompt_1T, new_tokens)
        seconds.append(row)
        tell(len(seconds) + 1, rounds + 1)
    if len(seconds) < rounds:
        tell(rounds + 1, rounds + 1)
    lengths = (prompt_1T.shape[1], new_tokens)
    column = {edits: at for at, same in enumerate(alike.values()) for edits in same}
    table = np.array(seconds)
    return [_speed(edits, table, column[edits], lengths, sizes[column[edits]]) for edits in every]


def architecture(model: PreTrainedModel) -> Hashable:
    """Tell what decides a model's speed beside the machine: equal for models that do equal work.

    Args:
        model: as it is now.

    Returns:
        Its configuration, and of each layer in depth order the class and the shape and type of
        every weight.
    """
    layers = tuple(
        (type(layer), tuple((w.shape, w.dtype) for w in chain(layer.parameters(), layer.buffers())))
        for layer in find_stack(model).layers
    )
    return json.dumps(model.config.to_dict(), sort_keys=True, default=str), layers


def median_interval(values: Float[np.ndarray, "R"]) -> tuple[float, float] | None:
    """95 % interval of the median from order statistics, whatever the values' distribution.

    Returns:
        The innermost two values with at least that coverage; None for fewer than 6 values.

    Source: W. J. Conover, Practical Nonparametric Statistics, chapter 3.
    """
    size = len(values)
    if size < _LEAST_ROUNDS:
        return None
    rank = int(binom.ppf(0.025, size, 0.5))  # P(X < rank) <= 2.5 %
    ordered = np.sort(values)
    return float(ordered[rank - 1]), float(ordered[size - rank])


def _speed(
    edits: Edits,
    seconds: Float[np.ndarray, "R V 2"],
    column: int,
    lengths: tuple[int, int],
    size: Occupancy,
) -> Speed:
    own = seconds[:, column]
    ratios = seconds[:, 0] / own
    rates = np.array(lengths) / own
    return Speed(
        edits=edits,
        prefill=float(np.median(rates[:, 0])),
        decode=float(np.median(rates[:, 1])),
        prefill_ratio=_quartiles(ratios[:, 0]),
        decode_ratio=_quartiles(ratios[:, 1]),
        parameters=size.parameters,
        prefill_interval=median_interval(ratios[:, 0]),
        decode_interval=median_interval(ratios[:, 1]),
        latency_ms=_quartiles(1000.0 / rates[:, 1]),
        parameter_bytes=size.parameter_bytes,
        cache_bytes=size.cache_bytes,
        cache_bytes_per_token=size.cache_bytes_per_token,
        peak_bytes=size.peak_bytes,
        prompt_tokens=lengths[0],
        new_tokens=lengths[1],
        rounds=len(seconds),
    )


def _settled(seconds: Sequence[Float[np.ndarray, "V 2"]], target: float | None) -> bool:
    """Whether every ratio's median is known well enough."""
    if target is None or len(seconds) < _LEAST_ROUNDS:
        return False
    table = np.array(seconds)
    ratios = (table[:, :1] / table).reshape(len(table), -1)
    for values in ratios.T:
        interval = median_interval(values)
        if interval is None or interval[1] - interval[0] > 2 * target * np.median(values):
            return False
    return True


def _time_once(model: PreTrainedModel, prompt_1T: torch.Tensor, new_tokens: int) -> list[float]:
    started = _now(model)
    out = prefill(model, prompt_1T)
    prefilled = _now(model)
    decode(model, out, new_tokens)
    return [prefilled - started, _now(model) - prefilled]


def _now(model: PreTrainedModel) -> float:
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter()


def _quartiles(values: Float[np.ndarray, "R"]) -> tuple[float, float, float]:
    low, middle, high = np.percentile(values, [25, 50, 75])
    return float(low), float(middle), float(high)
