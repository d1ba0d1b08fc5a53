"""What each player costs by itself on this machine: parameters, time, and cache.

Every layer, or every half of one, is timed at its own call inside the running dense model. What is
left is the rest: embedding, head, norms between halves, everything protected. Costs add up, so
that a search can price any set without building it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from decoder.cost.decoding import cut_prompt, decode, prefill
from decoder.cost.occupancy import cache_bytes, tensor_bytes, weights
from decoder.model.branches import find_branches
from decoder.model.structure import Stack, find_stack
from decoder.model.trace import record
from decoder.players import Roster

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["PlayerCosts", "player_costs"]


@dataclass(frozen=True)
class PlayerCosts:
    """Costs of each player and of the rest, which add up to the whole model's.

    They say what a player costs where it is really skipped; weights that an export sets to zero
    still cost what they did. Parameters that players share with anything else belong to the rest.

    Attributes:
        names: the players.
        parameters: of each player.
        bytes: of each player's parameters.
        prefill_seconds: of each player, for the whole prompt.
        decode_seconds: of each player, for one new token.
        cache_bytes_per_token: keys and values that each player keeps of a token, at that length;
            all of it is the rest's where the cache is not kept layer by layer.
        rest_parameters, rest_bytes, rest_prefill_seconds, rest_decode_seconds,
        rest_cache_bytes_per_token: the same of everything that is no player.
        prompt_tokens: length of the prompt.
    """

    names: tuple[str, ...]
    parameters: Int[np.ndarray, "n"]
    bytes: Int[np.ndarray, "n"]
    prefill_seconds: Float[np.ndarray, "n"]
    decode_seconds: Float[np.ndarray, "n"]
    cache_bytes_per_token: Float[np.ndarray, "n"]
    rest_parameters: int
    rest_bytes: int
    rest_prefill_seconds: float
    rest_decode_seconds: float
    rest_cache_bytes_per_token: float
    prompt_tokens: int


@torch.inference_mode()
def player_costs(
    model: PreTrainedModel,
    roster: Roster,
    tokens: Int[np.ndarray, "S T"],
    *,
    rounds: int = 15,
    new_tokens: int = 8,
) -> PlayerCosts:
    """Count and time every player inside the dense model.

    Args:
        model: the dense model.
        roster: who plays.
        tokens: the first sequence is the prompt, cut so that the new tokens fit the context.
        rounds: timed rounds after one to warm up; times are medians over them.
        new_tokens: tokens decoded a round.

    Raises:
        UnsupportedModel: the players are halves and cannot be told.
        ValueError: the roster is another model's, fewer than 1 round, no tokens, or new tokens
            that do not fit the context.
    """
    stack = find_stack(model)
    if roster.depth != len(stack):
        raise ValueError(
            f"roster: is of {roster.depth} layers and the model has {len(stack)}; make one for it"
        )
    if rounds < 1:
        raise ValueError(f"rounds: at least 1 is needed, got {rounds}")
    prompt_1T = cut_prompt(model, tokens, new_tokens)
    homes = _homes(model, stack, roster, prompt_1T)
    owned = _owned(model, homes)
    n = len(homes)
    seconds = np.zeros((rounds, 2, n + 1))
    growth = np.zeros(n + 1)
    with _timed(homes, model.device) as lap:
        for turn in range(rounds + 1):
            times, outs = _round(model, prompt_1T, new_tokens, lap)
            if turn:
                seconds[turn - 1] = times
            else:
                growth = _growth(roster, *outs) / new_tokens
    medians = np.median(seconds, axis=0)
    counts = np.array([sum(p.numel() for p in own) for own in owned])
    sizes = np.array([sum(map(tensor_bytes, own)) for own in owned])
    return PlayerCosts(
        names=roster.names,
        parameters=counts[:n],
        bytes=sizes[:n],
        prefill_seconds=medians[0, :n],
        decode_seconds=medians[1, :n] / new_tokens,
        cache_bytes_per_token=growth[:n],
        rest_parameters=int(counts[n]),
        rest_bytes=int(sizes[n]),
        rest_prefill_seconds=float(medians[0, n]),
        rest_decode_seconds=float(medians[1, n]) / new_tokens,
        rest_cache_bytes_per_token=float(growth[n]),
        prompt_tokens=prompt_1T.shape[1],
    )


def _homes(
    model: PreTrainedModel, stack: Stack, roster: Roster, prompt_1T: Tensor
) -> list[list[nn.Module]]:
    """The modules of each player."""
    halves = any(unit.part != "layer" for slot in roster.slots for unit in slot.units)
    trace = record(model, stack, prompt_1T[:, :64], every_input=True) if halves else None
    homes: list[list[nn.Module]] = [[] for _ in roster.names]
    for slot in roster.slots:
        if slot.player is None:
            continue
        for unit in slot.units:
            layer = stack.layers[unit.layer]
            if trace is None or unit.part == "layer":
                homes[slot.player].append(layer)
            else:
                branches = find_branches(trace.calls[unit.layer], trace.inputs[unit.layer])
                names = branches.attention if unit.part == "attention" else branches.mlp
                homes[slot.player] += [layer.get_submodule(name) for name in names]
    return homes


def _owned(model: PreTrainedModel, homes: Sequence[Sequence[nn.Module]]) -> list[list[Tensor]]:
    """The parameters that are each player's alone, then all others."""
    every = {id(parameter): parameter for parameter in weights(model)}
    claims: dict[int, set[int]] = {key: set() for key in every}
    inside = {id(module) for modules in homes for home in modules for module in home.modules()}
    for player, modules in enumerate(homes):
        for home in modules:
            for parameter in weights(home):
                claims[id(parameter)].add(player)
    for module in model.modules():
        if id(module) not in inside:
            for parameter in module.parameters(recurse=False):
                claims[id(parameter)].add(len(homes))
    owned: list[list[Tensor]] = [[] for _ in range(len(homes) + 1)]
    for key, players in claims.items():
        owned[players.pop() if len(players) == 1 else len(homes)].append(every[key])
    return owned


def _growth(roster: Roster, before: Any, after: Any) -> Float[np.ndarray, "n+1"]:
    """Bytes by which each player's part of the cache has grown, then all others'.

    Args:
        roster: who plays.
        before: sizes of the layers' caches and of the whole, after the prompt.
        after: the same after the new tokens.
    """
    grown = np.zeros(len(roster.names) + 1)
    grown[-1] = after[1] - before[1]
    if len(after[0]) == len(before[0]) == roster.depth:
        for slot in roster.slots:
            for unit in slot.units:
                # The keys and values are the attention's.
                if slot.player is not None and unit.part != "mlp":
                    own = after[0][unit.layer] - before[0][unit.layer]
                    grown[slot.player] += own
                    grown[-1] -= own
    return grown


def _cache_sizes(cache: Any) -> tuple[list[int], int]:
    return [cache_bytes(part) for part in getattr(cache, "layers", ())], cache_bytes(cache)


def _round(
    model: PreTrainedModel, prompt_1T: Tensor, new_tokens: int, lap: Callable[[], Any]
) -> tuple[Float[np.ndarray, "2 n+1"], tuple[Any, Any]]:
    """Seconds of each player and the rest in prefill and decoding, and the cache after each."""
    lap()
    out = prefill(model, prompt_1T)
    first, before = lap(), _cache_sizes(out.past_key_values)
    lap()
    out = decode(model, out, new_tokens)
    return np.array([first, lap()]), (before, _cache_sizes(out.past_key_values))


@contextmanager
def _timed(
    homes: Sequence[Sequence[nn.Module]], device: torch.device
) -> Iterator[Callable[[], Float[np.ndarray, "n+1"]]]:
    """Hooks on the players' modules.

    Yields a function that gives the seconds of each player and of the rest since its last call.
    """
    stamps: list[tuple[int, Any]] = []

    def stamp(owner: int) -> None:
        """From here on the time is this owner's."""
        if device.type == "cuda":
            # Marks in the stream cost no wait, so that what is timed runs as it does untimed.
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            stamps.append((owner, event))
        else:
            stamps.append((owner, time.perf_counter()))

    def lap() -> Float[np.ndarray, "n+1"]:
        stamp(len(homes))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        spent = np.zeros(len(homes) + 1)
        for (owner, start), (_, end) in pairwise(stamps):
            spent[owner] += start.elapsed_time(end) / 1000 if device.type == "cuda" else end - start
        stamps.clear()
        stamp(len(homes))
        return spent

    hooks = []
    for player, modules in enumerate(homes):
        for home in modules:
            hooks += [
                home.register_forward_pre_hook(lambda *_, own=player: stamp(own)),
                home.register_forward_hook(lambda *_: stamp(len(homes))),
            ]
    try:
        yield lap
    finally:
        for hook in hooks:
            hook.remove()
