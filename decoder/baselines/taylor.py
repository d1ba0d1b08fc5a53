"""Taylor scores of Shortened LLaMA: how much the loss would change, to first order.

Source: Kim et al., "Shortened LLaMA: Depth Pruning for Large Language Models with Comparison of
Retraining Methods", arXiv 2402.02834, section 3.1: a block's score is the sum of |w * dL/dw| over
its weights. As in the authors' code, w * dL/dw is summed over the data before the absolute value
is taken, and biases do not count. Their "Taylor+" keeps the first four and the last two blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from decoder.baselines.arguments import check_counts, check_model
from decoder.baselines.context import ModelContext
from decoder.baselines.spend import Spend
from decoder.model.branches import find_branches
from decoder.model.structure import Stack
from decoder.model.trace import record
from decoder.players import Roster, Unit
from decoder.training.gradients import differentiable
from shapley.baselines import Found, Method
from shapley.baselines.shortened import end_players, ends_kept, ends_note

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["METHOD", "taylor_removed", "taylor_scores"]


def taylor_scores(
    model: PreTrainedModel, tokens: Int[np.ndarray, "S T"], roster: Roster, *, rows: int = 1
) -> tuple[Float[np.ndarray, "n"], Spend]:
    """Each player's sum of ``|w * dL/dw|``, L the mean next-token loss in nats.

    Beside the activations of one micro-batch it takes one float32 number a weight of the players.
    A half of a layer has its own weights alone, without the norm before it.

    Args:
        model: the model; it is left as it is, without gradients.
        tokens: calibration token ids.
        roster: who plays: layers, halves of layers or blocks.
        rows: sequences a micro-batch.

    Returns:
        one score a player (the lowest is removed first), and one forward and backward pass of the
        tokens.

    Raises:
        ValueError: tokens, roster or rows do not fit.
        UnsupportedModel: the model's layers, or the halves that play, cannot be told.
    """
    stack, ids = check_model(model, tokens, roster)
    if rows < 1:
        raise ValueError(f"rows must be at least 1 sequence a micro-batch, got {rows}")
    weights = _weights(model, stack, ids, roster)
    salience = _salience(model, ids, [w for own in weights for w in own], rows)
    sums = [sum(float(salience[w].abs().sum(dtype=torch.float64)) for w in own) for own in weights]
    return np.array(sums), Spend(ids.size, ids.size)


def taylor_removed(
    scores: Float[np.ndarray, "n"],
    roster: Roster,
    counts: Sequence[int],
    *,
    first: int = 4,
    last: int = 2,
) -> dict[int, tuple[int, ...]]:
    """The players of lowest score by count; those in the first and last layers go only at the end.

    Args:
        scores: one a player.
        roster: who plays.
        counts: how many players to remove.
        first: layers at the bottom that are spared ("+" in the paper; 0 for none).
        last: layers at the top that are spared.

    Raises:
        ValueError: the counts do not fit.
    """
    wanted = check_counts(roster, counts)
    spared = end_players(roster.layers, first, last, roster.depth)
    order = sorted(range(len(roster.names)), key=lambda p: (p in spared, scores[p], p))
    return {count: tuple(sorted(order[:count])) for count in wanted}


def _weights(
    model: PreTrainedModel, stack: Stack, ids: Int[np.ndarray, "S T"], roster: Roster
) -> list[list[nn.Parameter]]:
    """Weights of each player, biases left out."""
    halves: dict[Unit, tuple[str, ...]] = {}
    with torch.inference_mode():
        halved = roster.kind == "sublayers"
        first = torch.from_numpy(ids[:1]).to(model.device)
        trace = record(model, stack, first, every_input=halved)
        if halved:
            for layer, call in enumerate(trace.calls):
                branches = find_branches(call, trace.inputs[layer])
                halves[Unit(layer, "attention")] = branches.attention
                halves[Unit(layer, "mlp")] = branches.mlp
    found: list[list[nn.Parameter]] = [[] for _ in roster.names]
    for slot in roster.slots:
        if slot.player is not None:
            for unit in slot.units:
                layer = stack.layers[unit.layer]
                for part in halves.get(unit, ("",)):
                    found[slot.player] += [
                        weight
                        for name, weight in layer.get_submodule(part).named_parameters()
                        if not name.endswith("bias")
                    ]
    return found


def _salience(
    model: PreTrainedModel,
    ids: Int[np.ndarray, "S T"],
    weights: Sequence[nn.Parameter],
    rows: int,
) -> dict[nn.Parameter, Tensor]:
    """Product w * dL/dw of each weight, in float32 however coarse the model's own numbers are."""
    total: dict[nn.Parameter, Tensor] = {}

    def take(weight: Tensor) -> None:
        assert isinstance(weight, nn.Parameter)
        assert weight.grad is not None
        total[weight].addcmul_(weight.detach().float(), weight.grad.float())
        weight.grad = None  # so that never more than a few gradients are held

    predicted = len(ids) * (ids.shape[1] - 1)
    hooks = []
    try:
        with differentiable(model, weights):
            total |= {w: torch.zeros_like(w, dtype=torch.float32) for w in weights}
            hooks = [w.register_post_accumulate_grad_hook(take) for w in total]
            for start in range(0, len(ids), rows):
                part_BT = torch.from_numpy(ids[start : start + rows]).to(model.device)
                logits_BTV = model(input_ids=part_BT, use_cache=False).logits
                loss = functional.cross_entropy(
                    logits_BTV[:, :-1].float().flatten(0, 1),
                    part_BT[:, 1:].flatten(),
                    reduction="sum",
                )
                (loss / predicted).backward()
    finally:
        for hook in hooks:
            hook.remove()
    return total


def run_shortened_taylor(context: ModelContext, counts: Sequence[int]) -> Found:
    """Shortened LLaMA by Taylor scores."""
    roster = context.roster
    scores, spend = taylor_scores(context.model(), context.tokens, roster)
    first, last = ends_kept(roster.depth)
    sets = taylor_removed(scores, roster, counts, first=first, last=last)
    return Found(sets, tokens=spend.tokens, note=ends_note(roster.depth))


METHOD = Method(
    name="Shortened-LLaMA Taylor",
    source="Kim et al., arXiv 2402.02834, section 3.1",
    needs="the model and its gradients",
    kind="selects sets",
    passes=True,
    also=("taylor",),
    run=run_shortened_taylor,
)
