"""CLP's gate: one contiguous segment, found by the gradient of its place in depth.

Source: Lu et al., "The Structural Scalpel: Automated Contiguous Layer Pruning for Large Language
Models", arXiv 2510.23652: a differentiable concave gate over depth is learned with frozen weights
so that the output's divergence from the original's is least; the segment under it goes. The exact
gate is not public; this is a workable form of it. With player i between the edges i and i + 1, the
segment of n players that starts at edge s has the gates
g_i = 1 - sigmoid((i + 1/2 - s) / tau) * sigmoid((s + n - i - 1/2) / tau),
which multiply what each player adds: h + g_i (player(h) - h). Adam moves s, from several starts at
once, while tau falls; every start ends at the segment nearest its s, and the one that does least
harm to all the text, measured with the players really left out, is taken. CLP's tuning of the
layers next to the cut is recovery, not selection, and is not part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional

from decoder.baselines.arguments import Segment, check_model, segments
from decoder.baselines.context import ModelContext, side_by_side
from decoder.baselines.spend import Spend
from decoder.evaluate.evaluator import MaskedModel
from decoder.model.lm_head import injected
from decoder.model.structure import find_stack
from decoder.model.trace import record, record_calls
from decoder.players import Roster
from decoder.training.gradients import differentiable
from sampling import stream, without
from shapley.baselines import Found, Method

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["METHOD", "GateSettings", "clp_segments", "gates"]


@dataclass(frozen=True)
class GateSettings:
    """How the gate is learned.

    Attributes:
        loss: "kl" (to the original's predictions, as published) or "nll" of the text.
        starts: values of s to start from, evenly over the possible ones.
        steps: of Adam, one sequence each.
        rate: Adam's learning rate, in players.
        warm: tau at the first step, in players.
        cold: tau at the last step.
    """

    loss: Literal["kl", "nll"] = "kl"
    starts: int = 4
    steps: int = 24
    rate: float = 0.3
    warm: float = 1.0
    cold: float = 0.2

    def __post_init__(self) -> None:
        if self.loss not in ("kl", "nll"):
            raise ValueError(f"loss must be 'kl' or 'nll', got {self.loss!r}; choose one")
        if min(self.starts, self.steps) < 1:
            raise ValueError("starts and steps must be at least 1; raise them")
        if not (self.rate > 0 and self.warm >= self.cold > 0):
            raise ValueError("rate must be above 0 and warm >= cold > 0; change them")

    def tau(self, step: int) -> float:
        """The gate's width at a step, which falls geometrically."""
        return self.warm * (self.cold / self.warm) ** (step / max(self.steps - 1, 1))


def clp_segments(
    model: PreTrainedModel,
    tokens: Int[np.ndarray, "S T"],
    roster: Roster,
    counts: Sequence[int],
    *,
    seed: int = 0,
    settings: GateSettings | None = None,
) -> tuple[dict[int, tuple[int, ...]], Spend]:
    """The adjacent players to remove for each count.

    Args:
        model: the model; it is left as it is.
        tokens: calibration token ids.
        roster: who plays: whole layers or blocks.
        counts: how many players to remove.
        seed: of the order in which sequences are used.
        settings: how the gate is learned.

    Returns:
        the removed players by count, and the passes that learning and the last comparison took.

    Raises:
        ValueError: tokens, roster or counts do not fit; the players are halves of layers; or
            protected players leave no segment of that many.
        UnsupportedModel: the model's layers cannot be told.
        ModelError: the dense model's own numbers are not finite.
    """
    _, ids = check_model(model, tokens, roster)
    how = settings or GateSettings()
    choices = segments(roster, counts, "CLP")
    spend = Spend(0)
    ends = {}
    with differentiable(model):
        gated = _GatedModel(model, ids, roster, how.loss)
        for count, possible in choices.items():
            ends[count], spent = _ends(gated, possible, count, stream(seed, "gate", count), how)
            spend += spent
    sets = {}
    judge = (
        MaskedModel(model, ids, roster=roster) if any(len(e) > 1 for e in ends.values()) else None
    )
    for count, ended in ends.items():
        best = 0
        if judge is not None and len(ended) > 1:
            rows = np.stack([without(len(roster.names), segment.players) for segment in ended])
            harm = judge.measure(rows)[how.loss].mean(axis=1, dtype=np.float64)
            best = int(np.nan_to_num(harm, nan=np.inf).argmin())
            spend += Spend(len(rows) * ids.size)
        sets[count] = ended[best].players
    return sets, spend


def gates(starts_K: Tensor, count: int, slots: int, tau: float) -> Tensor:
    """The gate of each slot of the depth for each start s: [K, slots], near 0 in the segment."""
    centre_L = torch.arange(slots, device=starts_K.device) + 0.5
    start_K1 = starts_K[:, None]
    begun_KL = torch.sigmoid((centre_L - start_K1) / tau)
    return 1 - begun_KL * torch.sigmoid((start_K1 + count - centre_L) / tau)


def _ends(
    gated: _GatedModel,
    possible: Sequence[Segment],
    count: int,
    chance: np.random.Generator,
    how: GateSettings,
) -> tuple[list[Segment], Spend]:
    """The distinct segments at which the starts end, and the passes it took."""
    low, high = possible[0].slot, possible[-1].slot
    number = min(how.starts, len(possible))
    starts = low + (high - low) * (np.arange(number) + 0.5) / number
    place_K = torch.tensor(starts, dtype=torch.float32, device=gated.device, requires_grad=True)
    steps = how.steps if len(possible) > 1 else 0
    adam = torch.optim.Adam([place_K], lr=how.rate)
    order = chance.permutation(gated.rows)
    for step in range(steps):
        gate_KL = gates(place_K, count, gated.slots, how.tau(step))
        loss = gated.loss(int(order[step % gated.rows]), gate_KL)
        adam.zero_grad()
        loss.backward()
        if place_K.grad is not None:
            place_K.grad.nan_to_num_(0.0, 0.0, 0.0)  # numbers that overflow tell no direction
        adam.step()
        with torch.no_grad():
            place_K.clamp_(low, high)
    nearest = {
        min(range(len(possible)), key=lambda index: abs(possible[index].slot - place))
        for place in place_K.tolist()
    }
    spend = Spend(steps * gated.forward_tokens(len(starts)), steps * gated.tokens(len(starts)))
    return [possible[index] for index in sorted(nearest)], spend


class _GatedModel:
    """The model with a gate before what each slot adds, layers called as the model calls them."""

    def __init__(
        self, model: PreTrainedModel, ids: Int[np.ndarray, "S T"], roster: Roster, loss: str
    ) -> None:
        self._model = model
        self._stack = find_stack(model)
        self._ids_ST = torch.from_numpy(ids).to(model.device)
        self._roster = roster
        self._divergence = loss == "kl"
        with torch.no_grad():
            self._returns = record(model, self._stack, self._ids_ST[:1]).returns

    @property
    def device(self) -> torch.device:
        return self._ids_ST.device

    @property
    def rows(self) -> int:
        return len(self._ids_ST)

    @property
    def slots(self) -> int:
        return len(self._roster.slots)

    def tokens(self, starts: int) -> int:
        """Tokens of a pass of one sequence for every start."""
        return starts * self._ids_ST.shape[1]

    def forward_tokens(self, starts: int) -> int:
        """The same with the original's own pass, where it is compared with."""
        return self.tokens(starts + int(self._divergence))

    def loss(self, row: int, gate_KL: Tensor) -> Tensor:
        """Mean loss a token of one sequence, summed over the starts, in nats."""
        ids_1T = self._ids_ST[row : row + 1]
        ids_KT = ids_1T.repeat(len(gate_KL), 1)
        with torch.no_grad():
            hidden_KTD, calls = record_calls(self._model, self._stack, ids_KT, self._returns)
            original_1TV = (
                self._model(input_ids=ids_1T, use_cache=False).logits if self._divergence else None
            )
        for slot, gate_K in zip(self._roster.slots, gate_KL.unbind(1), strict=True):
            after_KTD = hidden_KTD
            for unit in slot.units:
                after_KTD = calls[unit.layer](after_KTD)
            if slot.player is not None:
                gate_K11 = gate_K[:, None, None].to(after_KTD.dtype)
                after_KTD = hidden_KTD + gate_K11 * (after_KTD - hidden_KTD)
            hidden_KTD = after_KTD
        with injected(self._model, self._stack, self._returns) as logits:
            log_KTV = logits(ids_KT, hidden_KTD)[:, :-1].float().log_softmax(-1)
        if original_1TV is None:
            nll = functional.nll_loss(
                log_KTV.flatten(0, 1), ids_KT[:, 1:].flatten(), reduction="sum"
            )
            return nll / log_KTV.shape[1]
        wanted_1TV = original_1TV[:, :-1].float().log_softmax(-1)
        divergence_KTV = wanted_1TV.exp() * (wanted_1TV - log_KTV)
        return divergence_KTV.sum() / log_KTV.shape[1]


def run_clp_gate(context: ModelContext, counts: Sequence[int]) -> Found:
    """The segment under CLP's gate."""
    model, seed = context.model(), context.seed
    sets, spend = clp_segments(model, context.tokens, context.roster, counts, seed=seed)
    return Found(sets, tokens=spend.tokens)


METHOD = Method(
    name="CLP gate",
    source="Lu et al., arXiv 2510.23652; the gate's form is this project's",
    needs="the model and its gradients; whole layers or blocks, removed side by side",
    kind="selects sets",
    players=("layers", "blocks"),
    passes=True,
    also=("clp",),
    check=side_by_side("CLP"),
    run=run_clp_gate,
)
