"""Angular distance: the contiguous block whose ends are most alike.

Source: Gromov et al., "The Unreasonable Ineffectiveness of the Deeper Layers", arXiv 2403.17887,
equation (5): d(l, l+n) = arccos(cos(x_l, x_{l+n})) / pi on the last token of each sequence, mean
over the data; the block with the least distance goes. Hidden states are those between layers,
before the model's final norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int

from decoder.baselines.arguments import check_model, segments
from decoder.baselines.context import ModelContext, side_by_side
from decoder.baselines.spend import Spend
from decoder.model.trace import record
from decoder.players import Roster
from shapley.baselines import Found, Method

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["METHOD", "angular_blocks", "angular_distances"]


def angular_blocks(
    model: PreTrainedModel, tokens: Int[np.ndarray, "S T"], roster: Roster, counts: Sequence[int]
) -> tuple[dict[int, tuple[int, ...]], Spend]:
    """The adjacent players to remove for each count.

    Args:
        model: the model; it is left as it is.
        tokens: calibration token ids.
        roster: who plays: whole layers or blocks.
        counts: how many players to remove.

    Returns:
        the removed players by count (the earliest of equally distant blocks), and one forward
        pass of the tokens.

    Raises:
        ValueError: tokens, roster or counts do not fit; the players are halves of layers; or
            protected players leave no block of that many.
        UnsupportedModel: the model's layers cannot be told.
    """
    stack, ids = check_model(model, tokens, roster)
    choices = segments(roster, counts, "angular distance")
    states_LSD = []
    with torch.inference_mode():
        for row in ids:
            trace = record(
                model, stack, torch.from_numpy(row[None]).to(model.device), every_input=True
            )
            states_LSD.append(torch.stack([hidden[0, -1].float() for hidden in trace.inputs]))
    distances = angular_distances(torch.stack(states_LSD, 1).cpu().numpy())
    sets = {
        count: min(found, key=lambda segment: distances[segment.first, segment.end]).players
        for count, found in choices.items()
    }
    return sets, Spend(ids.size)


def angular_distances(states: Float[np.ndarray, "L S D"]) -> Float[np.ndarray, "L L"]:
    """arccos(cos(a, b)) / pi between the states at two depths, mean over sequences, in [0, 1]."""
    total = np.zeros((len(states), len(states)))
    for states_LD in states.swapaxes(0, 1).astype(np.float64):
        unit_LD = states_LD / np.maximum(np.linalg.norm(states_LD, axis=1, keepdims=True), 1e-300)
        for depth, one_D in enumerate(unit_LD):
            # By the chord, not the cosine: arccos is blind to small angles.
            chord = np.linalg.norm(unit_LD - one_D, axis=1)
            total[depth] += 2 * np.arcsin(np.minimum(chord / 2, 1.0)) / np.pi
    return total / states.shape[1]


def run_angular_distance(context: ModelContext, counts: Sequence[int]) -> Found:
    """The adjacent players whose ends are most alike."""
    sets, spend = angular_blocks(context.model(), context.tokens, context.roster, counts)
    return Found(sets, tokens=spend.tokens)


METHOD = Method(
    name="angular distance",
    source="Gromov et al., arXiv 2403.17887, equation 5",
    needs="the model; whole layers or blocks, removed side by side",
    kind="selects sets",
    players=("layers", "blocks"),
    passes=True,
    also=("pruneme",),
    check=side_by_side("angular distance"),
    run=run_angular_distance,
)
