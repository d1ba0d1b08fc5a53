"""A training loop that is seeded, and after a kill at any moment goes on bit for bit.

Nothing random outlives a step: batch and random numbers of a step follow from its number alone.
So weights, optimiser state and the number of steps done are all that a checkpoint has to hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.distributed
from jaxtyping import Int
from torch import nn

from decoder.training.checkpoint import restore, save

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Progress", "TrainingSettings", "rate_at", "train"]


@dataclass(frozen=True)
class TrainingSettings:
    """What decides a training beside its model, optimisers and batches.

    Attributes:
        steps: optimiser steps, at least 1.
        warmup: steps over which the learning rate rises linearly to its peak, at least 1.
        decay: share of the steps, the last ones, over which it falls linearly to zero; above 0.
        every: steps between evaluations, each followed by a checkpoint; the last step has both.
        report_every: steps between reports without an evaluation.
        clip: largest norm of all gradients together.
        autocast: type that matrix products are computed in; None for that of the weights.
        seed: of what is random inside a step, as dropout is.
    """

    steps: int
    warmup: int = 1
    decay: float = 0.5
    every: int = 200
    report_every: int = 20
    clip: float = 1.0
    autocast: torch.dtype | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ValueError: a number is too small.
        """
        for name in ("steps", "warmup", "every", "report_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: must be at least 1; give more")
        for name in ("decay", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} {getattr(self, name)}: must be above 0; give more")


@dataclass(frozen=True)
class Progress:
    """Where a training stands after a step.

    Attributes:
        step: steps done.
        loss: of this process's share of the step's batch, in nats a token.
        rate: fraction of the peak learning rate that the step was made with.
        pace: mean seconds a step since this process began or went on.
        seconds: since this process began or went on.
        evaluation: what `evaluate` returned, where it was asked.
    """

    step: int
    loss: float
    rate: float
    pace: float
    seconds: float
    evaluation: float | None


def train(
    model: PreTrainedModel,
    optimisers: Sequence[torch.optim.Optimizer],
    batches: Callable[[int], Int[torch.Tensor, "B T"]],
    settings: TrainingSettings,
    checkpoint: Path,
    *,
    evaluate: Callable[[], float] = lambda: float("nan"),
    report: Callable[[Progress], None] = lambda progress: None,
) -> int:
    """Train a language model to the last step, from its checkpoint on where there is one.

    Inside a process group of `torch.distributed` every process takes its share of each batch and
    gradients are averaged; the first one evaluates, reports and writes the checkpoint. A report of
    an evaluation comes before its checkpoint, and again after a kill between the two.

    Args:
        model: the model, with its weights on one device; trained in place and left in training
            mode.
        optimisers: over disjoint parts of its parameters; each group's learning rate is its peak.
        batches: token ids of the step with this number, from 0; the same ids at every call, and
            at least as many rows as there are processes.
        settings: how to train.
        checkpoint: the file that the training goes on from and that is written; its folder exists.
        evaluate: called in evaluation mode without gradients.
        report: called after every step that is evaluated or whose turn it is.

    Returns:
        Steps that this call has made.

    Raises:
        DamagedCheckpoint: the checkpoint cannot be read, or is that of something else.
        OSError: it cannot be written.
    """
    rank, processes = _place()
    for group in (group for optimiser in optimisers for group in optimiser.param_groups):
        group.setdefault("initial_lr", group["lr"])
    begun = restore(checkpoint, model, optimisers) if checkpoint.exists() else 0
    device = next(model.parameters()).device
    started = time.monotonic()
    model.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for step in range(begun, settings.steps):
            _seed(settings.seed, step, rank)
            batch_BT = batches(step)[rank::processes].to(device)
            loss = _step(model, optimisers, batch_BT, settings, rate_at(step, settings))
            done = step + 1
            evaluated = done % settings.every == 0 or done == settings.steps
            if rank != 0 or not (evaluated or done % settings.report_every == 0):
                continue
            pace = (time.monotonic() - started) / (done - begun)
            evaluation = _evaluated(model, evaluate) if evaluated else None
            seconds = time.monotonic() - started
            rate = rate_at(step, settings)
            report(Progress(done, loss.item(), rate, pace, seconds, evaluation))
            if evaluated:
                save(checkpoint, model, optimisers, done)
    return max(settings.steps - begun, 0)


def rate_at(step: int, settings: TrainingSettings) -> float:
    """Return the fraction of the peak learning rate: linear warm-up, constant, linear fall.

    Args:
        step: number of the step, from 0.
        settings: steps, warm-up and decay.
    """
    left = (settings.steps - step) / (settings.decay * settings.steps)
    return min((step + 1) / settings.warmup, 1.0, left)


def _step(
    model: PreTrainedModel,
    optimisers: Sequence[torch.optim.Optimizer],
    batch_BT: Int[torch.Tensor, "B T"],
    settings: TrainingSettings,
    rate: float,
) -> torch.Tensor:
    """Make one optimiser step; the loss before it."""
    kind, dtype = batch_BT.device.type, settings.autocast
    with nullcontext() if dtype is None else torch.autocast(kind, dtype=dtype):
        loss = model(input_ids=batch_BT, labels=batch_BT, use_cache=False).loss
    loss.backward()
    _average_gradients(model)
    nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["initial_lr"] * rate
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return loss.detach()


def _evaluated(model: nn.Module, evaluate: Callable[[], float]) -> float:
    model.eval()
    try:
        with torch.no_grad():
            return evaluate()
    finally:
        model.train()


def _seed(seed: int, step: int, rank: int) -> None:
    words = np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(words[0]))


def _place() -> tuple[int, int]:
    """Number of this process and number of processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _average_gradients(model: nn.Module) -> None:
    _, processes = _place()
    if processes == 1:
        return
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(flat)
    flat /= processes
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()
