"""The best repair of one smaller model, chosen on calibration text that no method was fitted on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float64, Int

from decoder.errors import RepairError
from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.dense import DenseStream
from decoder.recovery.fitting.path import find_path
from decoder.recovery.loss import sequence_losses
from decoder.recovery.methods.catalog import METHODS, admitted, find_method
from decoder.recovery.modules import repaired
from decoder.recovery.repair import Repair, fit_to
from decoder.surgery.edit import Edit, canonical

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["ChosenRepair", "TriedRepair", "choose_on", "choose_repair", "split_sequences"]

_SHARE = 3  # one of so many sequences compares the methods, the others fit them


@dataclass(frozen=True)
class TriedRepair:
    """How one method did.

    Attributes:
        method: its name.
        cost: mean loss over the sequences that compare, above the whole model's, in nats; NaN
            where the method could not be fitted, or was left out.
        seconds: that fitting and comparing took.
        notes: warnings, or why it was not fitted.
    """

    method: str
    cost: float
    seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ChosenRepair:
    """The repair that compared best.

    Attributes:
        repair: of the best method, fitted on the whole text unless that was not wanted; "none"
            where no method is better.
        deleted: cost of the set without repair, on the third that compares, in nats.
        cost: cost with it.
        tried: every method, the best first.
        fitted_tokens: tokens that methods were fitted on to be compared.
        compared_tokens: tokens that they were compared on.
    """

    repair: Repair
    deleted: float
    cost: float
    tried: tuple[TriedRepair, ...]
    fitted_tokens: int
    compared_tokens: int


def split_sequences(
    tokens_ST: Int[np.ndarray, "S T"],
) -> tuple[Int[np.ndarray, "F T"], Int[np.ndarray, "C T"]]:
    """Split calibration text into the sequences that fit and those that compare.

    Args:
        tokens_ST: at least three sequences.

    Returns:
        Two thirds of the sequences, and every third.

    Raises:
        RepairError: there are fewer than three.
    """
    if len(tokens_ST) < _SHARE:
        raise RepairError(
            f"tokens: {len(tokens_ST)} sequences cannot be split into those that fit and those "
            f"that compare; give at least {_SHARE}"
        )
    compare = np.arange(len(tokens_ST)) % _SHARE == _SHARE - 1
    return tokens_ST[~compare], tokens_ST[compare]


def choose_repair(
    model: PreTrainedModel,
    edits: Iterable[Edit],
    tokens_ST: Int[np.ndarray, "S T"],
    methods: Sequence[str] | None = None,
    *,
    untie: bool = False,
    refit: bool = True,
    stored: torch.dtype | None = None,
    memory: float | None = None,
    progress: Callable[[TriedRepair], None] | None = None,
) -> ChosenRepair:
    """Fit every method on two thirds of a text and keep the one of least loss on the rest.

    The model is left bit for bit as it is. Confirm the choice on other text: the cost found here
    is that of the best of several.

    Args:
        model: the original.
        edits: what makes the smaller model, without merges and patches.
        tokens_ST: the calibration text.
        methods: names to choose from, "none" is always among them; all that are exact in stock
            weights when omitted.
        untie: let methods give a tied head a weight of its own.
        refit: fit the best method once more, on the whole text; every fit gets better with more
            tokens, and what it was compared on is needed no more.
        stored: type that the weights will be stored in; the model's own when omitted.
        memory: most GiB to use in all; a share of what is free when omitted.
        progress: told of every method when it has been tried.

    Raises:
        EditError: the edits contradict each other or do not fit the model.
        RepairError: a method is unknown, or the text has fewer than three sequences.
        TextError: the tokens are not the model's.
        UnsupportedModel: its layers or their halves cannot be told.
    """
    edits = canonical(edits)
    fitted_ST, compared_ST = split_sequences(np.asarray(tokens_ST))
    dense = DenseStream(Anatomy(model), fitted_ST, memory=memory)
    found = choose_on(dense, edits, compared_ST, methods, untie, stored, progress)
    if not refit or found.repair.method == "none":
        return found
    anatomy = dense.anatomy
    del dense
    every = DenseStream(anatomy, np.asarray(tokens_ST), memory=memory)
    return replace(found, repair=fit_to(every, edits, found.repair.method, stored))


def choose_on(
    dense: DenseStream,
    edits: Iterable[Edit],
    compared_ST: Int[np.ndarray, "C T"],
    methods: Sequence[str] | None = None,
    untie: bool = False,
    stored: torch.dtype | None = None,
    progress: Callable[[TriedRepair], None] | None = None,
    *,
    every: bool = True,
) -> ChosenRepair:
    """Choose as `choose_repair` does, on a dense stream that other sets share, without refitting.

    Args:
        dense: over the sequences that fit.
        edits: as for `choose_repair`.
        compared_ST: the sequences that compare.
        methods: as for `choose_repair`.
        untie: as for `choose_repair`.
        stored: as for `choose_repair`.
        progress: as for `choose_repair`.
        every: fit every method. Otherwise a method that fits part of what another one does is left
            out once one of that kind fell behind the other: each step of a fit leaves less of the
            dense stream missing than no step, so that the smaller ones rarely win.
    """
    anatomy = dense.anatomy
    path = find_path(edits, anatomy.depth)
    names = methods or admitted(anatomy, path, untie=untie)
    names = list(dict.fromkeys(["none", *(find_method(name).name for name in names)]))
    if not every:
        names = _widest_first(names)
    whole = sequence_losses(anatomy.model, compared_ST)
    tried: list[TriedRepair] = []
    costs: dict[str, float] = {}
    behind: set[str] = set()
    best: tuple[float, Repair] | None = None
    for name in names:
        start, cost = time.perf_counter(), float("nan")
        notes: tuple[str, ...]
        within = METHODS[name].within
        if not every and within in behind:
            notes = (f"left out: fits less than {within}, as another that fell behind it",)
        else:
            try:
                repair = fit_to(dense, path.edits, name, stored)
            except RepairError as error:
                if len(names) == 2 and methods:
                    raise
                notes = (str(error),)
            else:
                cost, notes = _cost(anatomy.model, repair, compared_ST, whole), repair.notes
                costs[name] = cost
                if within is not None and cost > costs.get(within, float("inf")):
                    behind.add(within)
                if best is None or cost < best[0]:
                    best = cost, repair
        tried.append(TriedRepair(name, cost, time.perf_counter() - start, notes))
        if progress is not None:
            progress(tried[-1])
    assert best is not None
    tried_best_first = sorted(tried, key=lambda one: (np.isnan(one.cost), one.cost))
    return ChosenRepair(
        best[1],
        tried[0].cost,
        best[0],
        tuple(tried_best_first),
        dense.tokens,
        int(np.asarray(compared_ST).size),
    )


def _widest_first(names: Sequence[str]) -> list[str]:
    """Methods that fit part of what another one does after all others, the largest part first."""
    parts = [name for name in names if METHODS[name].within is not None]
    return [*(name for name in names if name not in parts), *reversed(parts)]


def _cost(
    model: PreTrainedModel,
    repair: Repair,
    compared_ST: Int[np.ndarray, "C T"],
    whole: Float64[np.ndarray, "C"],
) -> float:
    with repaired(model, repair):
        return float((sequence_losses(model, compared_ST) - whole).mean())
