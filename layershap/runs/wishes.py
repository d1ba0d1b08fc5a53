"""What no run could do, refused before torch is imported: from the command line and small files."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from layershap.errors import UserError
from layershap.runs.config import RunConfig
from layershap.runs.config_file import read_config
from layershap.runs.directory import RunDirectory
from layershap.runs.utilities import parse_utilities

__all__ = ["refuse_impossible"]

_KINDS = re.compile(r"layers|sublayers|blocks:\d+", re.ASCII)
_DEPTHS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_NESTED = ("text_config", "llm_config", "language_config", "thinker_config")
_NOTES = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")


def refuse_impossible(config: RunConfig, directory: RunDirectory) -> None:
    """Refuse what the run could only refuse later, or would not find until it has measured.

    What the checkpoint's small files do not tell is left to the run itself: nothing is refused on
    a guess.

    Args:
        config: what was asked for.
        directory: of the run.

    Raises:
        UserError: no run of this model can do it.
        ValueError: the same, said by the room that knows.
    """
    from decoder.data.items import read_choices
    from decoder.data.text import check_readable
    from decoder.players import make_roster

    for utility in parse_utilities(config.utilities):
        if utility.file is not None:
            read_choices(utility.file)
    for source in (*config.text.calibration, *config.text.heldout):
        if not source.startswith("hf:"):
            check_readable(source)
    kind, model = config.measure.players, _Files(Path(config.model_name))
    if model.depth is None and not _KINDS.fullmatch(kind):
        raise UserError(f"--players {kind}: unknown; choose layers, sublayers or blocks:K")
    _refuse_other_model(config, directory, model)
    if model.depth is None:
        return
    try:
        roster = make_roster(kind, model.depth, config.measure.protect or "")
    except ValueError as error:
        raise UserError(str(error)) from None
    n = len(roster.names)
    counts = config.counts(n) if config.search.count is not None and n > 1 else [n - 1]
    config.at_most(n)
    if n > 2:
        config.evaluations(n)
    most = max(counts)
    gone = sorted((len(layers) for layers in roster.layers), reverse=True)[:most]
    left = max(1, model.depth - (most // 2 if kind == "sublayers" else sum(gone)))
    _refuse_speed(config, model, left)
    _refuse_size(config, model, left)


def _refuse_speed(config: RunConfig, model: _Files, left: int) -> None:
    wanted = config.search.min_speedup
    if wanted is None or model.depth is None or (model.sizes and len(set(model.sizes)) > 1):
        return  # layers of one kind take the same time
    most = model.depth / left
    if wanted > most:
        raise UserError(
            f"--min-speedup {wanted:g}: {left} of {model.depth} layers are left at least, so no set"
            f" is more than {most:.3g} times as fast; ask for less"
        )


def _refuse_size(config: RunConfig, model: _Files, left: int) -> None:
    wanted = config.search.max_params
    if wanted is None or not model.sizes:
        return
    least = model.rest + sum(sorted(model.sizes)[:left])
    if wanted < least:
        raise UserError(
            f"--max-params {wanted:g}: {least:,} parameters remain with {left} of {model.depth} "
            "layers, and no set leaves fewer; ask for more"
        )


def _refuse_other_model(config: RunConfig, directory: RunDirectory, model: _Files) -> None:
    if not (directory.config.exists() and directory.ledger.exists()):
        return
    known = read_config(directory.config)
    there = _Files(Path(known.model_name))
    if there.path.resolve() == model.path.resolve():
        return
    local = [files.config for files in (there, model)]
    differ = (
        local[0] != local[1] if all(local) else not any(f.path.exists() for f in (there, model))
    )
    if differ:
        raise UserError(
            f"--output {directory.path}: holds measurements of {known.title} ({known.model_name}), "
            f"not of {config.title}; name another directory"
        )


class _Files:
    """What `config.json` and the heads of the weight files tell of a checkpoint directory.

    Args:
        path: the directory; a hub id is none, and nothing is known of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration without names and notes; empty where there is none."""
        try:
            found = json.loads((self.path / "config.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        known = found if isinstance(found, dict) else {}
        return {name: value for name, value in known.items() if name not in _NOTES}

    @cached_property
    def _tensors(self) -> dict[str, int]:
        """Numbers of the tensors by name; empty unless they are safetensors, not quantised."""
        found: dict[str, int] = {}
        if "quantization_config" in self.config:
            return found
        try:
            for file in sorted(self.path.glob("model*.safetensors")):
                with file.open("rb") as stream:
                    size = int.from_bytes(stream.read(8), "little")
                    head = json.loads(stream.read(min(size, 10**8)))
                for name, entry in head.items():
                    if name != "__metadata__":
                        found[name] = _product(entry["shape"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}
        return found

    @cached_property
    def _layers(self) -> dict[str, dict[int, int]]:
        """Numbers by layer, for each place where the names count layers from 0."""
        found: dict[str, dict[int, int]] = {}
        for name, size in self._tensors.items():
            parts = name.split(".")
            at = next((i for i, part in enumerate(parts) if part.isdigit()), None)
            if at is not None:
                sizes = found.setdefault(".".join(parts[:at]), {})
                sizes[int(parts[at])] = sizes.get(int(parts[at]), 0) + size
        return {place: s for place, s in found.items() if sorted(s) == [*range(len(s))]}

    @cached_property
    def depth(self) -> int | None:
        """Decoder layers; None where configuration and weights do not tell the same."""
        inner = next((self.config[n] for n in _NESTED if isinstance(self.config.get(n), dict)), {})
        told = [level[name] for level in (inner, self.config) for name in _DEPTHS if name in level]
        if not told or not isinstance(told[0], int) or told[0] < 1:
            return None
        if self._tensors and [*map(len, self._layers.values())].count(told[0]) != 1:
            return None
        return told[0]

    @cached_property
    def sizes(self) -> Sequence[int]:
        """Parameters of each layer; empty where they are not known."""
        stacks = [sizes for sizes in self._layers.values() if len(sizes) == self.depth]
        return [stacks[0][layer] for layer in sorted(stacks[0])] if len(stacks) == 1 else []

    @cached_property
    def rest(self) -> int:
        """Parameters outside the layers, without a head that is the embedding once more."""
        tied = self.config.get("tie_word_embeddings", True)
        head = self._tensors.get("lm_head.weight", 0) if tied else 0
        return sum(self._tensors.values()) - sum(self.sizes) - head


def _product(shape: Sequence[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
