"""What a method that looks inside the model may ask of a run, beside what every method may."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Int

from decoder.baselines.arguments import segments
from decoder.players import Roster
from decoder.surgery.edit import Merge
from shapley.baselines import Found, MethodContext

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["MergedSets", "ModelContext", "side_by_side"]


class ModelContext(MethodContext, Protocol):
    """What a method may ask that runs passes of its own through the model."""

    @property
    def roster(self) -> Roster:
        """Who plays."""
        ...

    @property
    def tokens(self) -> Int[np.ndarray, "S T"]:
        """Calibration token ids."""
        ...

    def model(self) -> PreTrainedModel:
        """Returns the model, which must be left bit for bit as it is."""
        ...


@dataclass(frozen=True)
class MergedSets(Found):
    """Sets whose layers are merged into others instead of dropped.

    Attributes:
        merges: by count, in order.
    """

    merges: Mapping[int, tuple[Merge, ...]] = field(default_factory=dict)


def side_by_side(method: str) -> Callable[[ModelContext, Sequence[int]], None]:
    """A check that there are so many players side by side.

    Args:
        method: its name, for messages.
    """

    def check(context: ModelContext, counts: Sequence[int]) -> None:
        segments(context.roster, counts, method)

    return check
