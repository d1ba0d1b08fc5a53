"""Measured speed of smaller models beside the dense one: prefill and decoding with a cache.

All variants take turns in every round, so that a machine that speeds up or slows down does so for
all of them; a variant's ratio to dense is taken inside each round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int

from llm.reduction import reduced
from llm.structure import find_stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Speed", "measure_speed"]


@dataclass(frozen=True)
class Speed:
    """Speed of one variant: medians over the rounds.

    Attributes:
        removed: layers left out.
        prefill: prompt tokens per second.
        decode: generated tokens per second, one sequence, with a cache.
        prefill_ratio, decode_ratio: the same divided by dense, (25 %, median, 75 %) over rounds.
        parameters: parameters that remain.
    """

    removed: tuple[int, ...]
    prefill: float
    decode: float
    prefill_ratio: tuple[float, float, float]
    decode_ratio: tuple[float, float, float]
    parameters: int


def measure_speed(
    model: PreTrainedModel,
    sets: Sequence[tuple[int, ...]],
    tokens: Int[np.ndarray, "S T"],
    *,
    rounds: int = 15,
    new_tokens: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> list[Speed]:
    """Time the dense model and each set, in turns.

    Args:
        model: the dense model; it is whole again afterwards.
        sets: layers to remove, one tuple a variant; the dense model is added first.
        tokens: the first sequence is the prompt, cut so that the new tokens fit the context.
        rounds: timed rounds after one to warm up.
        new_tokens: tokens decoded a round.
        progress: called with (rounds done, rounds in all).

    Returns:
        One `Speed` for the dense model (removed = ()), then one a set.
    """
    stack = find_stack(model)
    context = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    room = tokens.shape[1] if context is None else min(tokens.shape[1], context - new_tokens)
    prompt_1T = torch.from_numpy(tokens[:1, : max(room, 1)]).to(model.device)
    variants = [(), *sets]
    seconds = np.zeros((rounds, len(variants), 2))
    parameters = []
    for turn in range(rounds + 1):
        for column, removed in enumerate(variants):
            with reduced(model, stack, removed):
                timing = _time_once(model, prompt_1T, new_tokens)
                if turn == 0:
                    parameters.append(model.num_parameters())
                else:
                    seconds[turn - 1, column] = timing
        if progress is not None:
            progress(turn + 1, rounds + 1)
    rates = np.array([prompt_1T.shape[1], new_tokens]) / seconds
    ratios = rates / rates[:, :1]
    return [
        Speed(
            removed,
            float(np.median(rates[:, column, 0])),
            float(np.median(rates[:, column, 1])),
            _quartiles(ratios[:, column, 0]),
            _quartiles(ratios[:, column, 1]),
            parameters[column],
        )
        for column, removed in enumerate(variants)
    ]


@torch.inference_mode()
def _time_once(model: PreTrainedModel, prompt_1T: torch.Tensor, new_tokens: int) -> list[float]:
    started = _now(model)
    out = model(input_ids=prompt_1T, use_cache=True)
    prefilled = _now(model)
    token_11 = out.logits[:, -1:].argmax(-1)
    for _ in range(new_tokens):
        out = model(input_ids=token_11, past_key_values=out.past_key_values, use_cache=True)
        token_11 = out.logits[:, -1:].argmax(-1)
    return [prefilled - started, _now(model) - prefilled]


def _now(model: PreTrainedModel) -> float:
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter()


def _quartiles(values: Float[np.ndarray, "R"]) -> tuple[float, float, float]:
    low, middle, high = np.percentile(values, [25, 50, 75])
    return float(low), float(middle), float(high)
