"""The state of a training in one safetensors file: whole or not there, and nothing executable.

Tensors (weights, what the optimisers keep) are stored as such; the step and the optimisers'
scalars are JSON in the file's header, so that one rename puts all of it in place.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from decoder.errors import ModelError
from decoder.model.loading import first_line

__all__ = ["DamagedCheckpoint", "checkpoint_step", "restore", "save"]

_HEADER = "training"


class DamagedCheckpoint(ModelError):
    """A training's checkpoint cannot be read, or is that of another model or optimiser."""


def save(
    path: Path, model: nn.Module, optimisers: Sequence[torch.optim.Optimizer], step: int
) -> None:
    """Write a training's state beside its place, then give it its name.

    Args:
        path: the file; its folder exists.
        model: the model.
        optimisers: those that train it; hyperparameters are numbers, text and tuples of them.
        step: steps that are done.

    Raises:
        OSError: the file cannot be written; the one before it is as it was.
    """
    tensors = {name: tensor.detach().contiguous() for name, tensor in _weights(model).items()}
    scalars = []
    for place, optimiser in enumerate(optimisers):
        state = optimiser.state_dict()
        plain: dict[str, dict[str, Any]] = {}
        for index, entries in state["state"].items():
            plain[str(index)] = {}
            for key, value in entries.items():
                if isinstance(value, torch.Tensor):
                    tensors[f"optimiser.{place}.{index}.{key}"] = value.detach().contiguous()
                else:
                    plain[str(index)][key] = value
        scalars.append({"groups": state["param_groups"], "state": plain})
    header = json.dumps({"step": step, "optimisers": scalars})
    partial = path.with_name(path.name + ".part")
    try:
        save_file(tensors, partial, metadata={_HEADER: header})
    except SafetensorError as error:  # how the library reports a full disk
        raise OSError(f"{partial}: {first_line(error)}") from None
    partial.replace(path)


def restore(path: Path, model: nn.Module, optimisers: Sequence[torch.optim.Optimizer] = ()) -> int:
    """Bring a model and its optimisers to the state that a checkpoint holds.

    Args:
        path: the file.
        model: one of the same architecture and types; its weights are overwritten in place.
        optimisers: as they were saved; none where only the weights are wanted.

    Returns:
        Steps that are done.

    Raises:
        DamagedCheckpoint: the file cannot be read, or belongs to something else; the model and
            the optimisers are as they were, unless an optimiser itself refuses its state.
    """
    header, tensors = _read(path)
    targets = _weights(model)
    stored = {name: tensor for name, tensor in tensors.items() if name.startswith("model.")}
    if different := sorted(stored.keys() ^ targets.keys()):
        raise _another(path, f"{different[0]} is not in both")
    for name, target in targets.items():
        if (stored[name].shape, stored[name].dtype) != (target.shape, target.dtype):
            raise _another(path, f"{name} has another shape or type")
    try:
        states = _optimiser_states(header, tensors)
        step = int(header["step"])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from None
    if optimisers and len(states) != len(optimisers):
        raise _another(path, f"it has {len(states)} optimisers, not {len(optimisers)}")
    for optimiser, state in zip(optimisers, states, strict=False):
        try:
            optimiser.load_state_dict(state)
        except (KeyError, TypeError, ValueError) as error:
            raise _another(path, first_line(error)) from None
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(stored[name])
    return step


def checkpoint_step(path: Path) -> int:
    """Read how many steps a checkpoint's training has done, without its tensors.

    Args:
        path: the file.

    Raises:
        DamagedCheckpoint: it cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return int(_header(file)["step"])
    except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None


def _weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Every tensor of the model's state once: tied ones under their first name."""
    names: dict[int, str] = {}
    state = model.state_dict(keep_vars=True)
    for name, tensor in state.items():
        names.setdefault(id(tensor), name)
    return {f"model.{name}": state[name] for name in names.values()}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            return _header(file), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None


def _header(file: Any) -> dict[str, Any]:
    metadata = file.metadata() or {}
    if _HEADER not in metadata:
        raise ValueError("it says nothing of a training")
    return json.loads(metadata[_HEADER])


def _optimiser_states(
    header: dict[str, Any], tensors: dict[str, torch.Tensor]
) -> list[dict[str, Any]]:
    """State dictionaries as the optimisers gave them: tuples again, and tensors in their place."""
    states = []
    for scalars in header["optimisers"]:
        groups = [
            {key: _tuples(value) if key != "params" else value for key, value in group.items()}
            for group in scalars["groups"]
        ]
        state = {int(index): dict(entries) for index, entries in scalars["state"].items()}
        states.append({"state": state, "param_groups": groups})
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            _, place, index, key = name.split(".", 3)
            states[int(place)]["state"][int(index)][key] = tensor
    return states


def _tuples(value: Any) -> Any:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value


def _damaged(path: Path, error: Exception) -> DamagedCheckpoint:
    return DamagedCheckpoint(
        f"{path}: is not a whole checkpoint of a training ({first_line(error)}); "
        "remove it to train anew"
    )


def _another(path: Path, reason: str) -> DamagedCheckpoint:
    return DamagedCheckpoint(
        f"{path}: is the checkpoint of another model or optimiser ({reason}); "
        "use another folder, or remove it to train anew"
    )
