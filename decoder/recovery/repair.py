"""One method of repair, fitted for one smaller model."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from decoder.errors import RepairError
from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.dense import DenseStream
from decoder.recovery.fitting.path import find_path
from decoder.recovery.fitting.repaired import RepairedStream
from decoder.recovery.methods.catalog import admitted, find_method
from decoder.surgery.edit import Edit, Edits, canonical
from decoder.surgery.patch import make_patch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Repair", "fit_repair", "fit_to"]


@dataclass(frozen=True)
class Repair:
    """A smaller model whose weights were fitted.

    Attributes:
        method: name of the method, "none" where nothing was fitted.
        edits: what makes the smaller model, the patch included, in canonical order. A bridge
            keeps a half that the edits given remove.
        patches: values of the patch, for `decoder.surgery.apply.applied` and
            `decoder.surgery.export.write`.
        notes: warnings and what was done, one line each.
        seconds: that the fit took.
        modules: matrices at cuts that stock weights cannot hold, by position of the cut's end;
            empty for stock methods.
    """

    method: str
    edits: Edits
    patches: Mapping[str, Tensor]
    notes: tuple[str, ...]
    seconds: float
    modules: Mapping[int, Tensor] = field(default_factory=dict)


def fit_repair(
    model: PreTrainedModel,
    edits: Iterable[Edit],
    tokens_ST: Int[np.ndarray, "S T"],
    method: str = "down_projection",
    *,
    stored: torch.dtype | None = None,
    memory: float | None = None,
) -> Repair:
    """Fit one method on a text.

    The model is the dense one and is left bit for bit as it is.

    Args:
        model: the original.
        edits: what makes the smaller model, without merges and patches.
        tokens_ST: the calibration text.
        method: a name of `decoder.recovery.methods.catalog.METHODS`.
        stored: type that the weights will be stored in, which fitted ones are rounded to once;
            the model's own when omitted.
        memory: most GiB to use in all; a share of what is free when omitted.

    Raises:
        EditError: the edits contradict each other or do not fit the model.
        RepairError: the method is unknown, is not exact in this model or with these edits (the
            message says which are), or the text is too short or the memory too small for it.
        TextError: the tokens are not the model's.
        UnsupportedModel: its layers or their halves cannot be told.
    """
    return fit_to(DenseStream(Anatomy(model), tokens_ST, memory=memory), edits, method, stored)


def fit_to(
    dense: DenseStream, edits: Iterable[Edit], method: str, stored: torch.dtype | None = None
) -> Repair:
    """Fit one method on a text whose dense stream is shared with other fits.

    Args:
        dense: the stream.
        edits: as for `fit_repair`.
        method: as for `fit_repair`.
        stored: as for `fit_repair`.
    """
    anatomy = dense.anatomy
    chosen, path = find_method(method), find_path(edits, anatomy.depth)
    why = chosen.refusal(anatomy, path)
    if why is not None:
        kind = anatomy.model.config.model_type
        left = ", ".join(admitted(anatomy, path))
        raise RepairError(f"method {method}: {why} (model type {kind}); methods left: {left}")
    start = time.perf_counter()
    streams = [RepairedStream(dense, path)]
    if chosen.variants is not None:
        others = chosen.variants(anatomy, path)
        streams = [RepairedStream(dense, find_path(other, anatomy.depth)) for other in others]
    for stream in streams:
        chosen.run(stream)
    stream = min(streams, key=lambda one: one.missing)
    patches = stream.patches(stored)
    added = [make_patch(patches)] if patches else []
    return Repair(
        method,
        canonical([*stream.path.edits, *added]),
        patches,
        tuple(stream.warnings),
        time.perf_counter() - start,
        stream.modules,
    )
