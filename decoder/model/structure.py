"""Finding a decoder's stack of layers by its structure, not by a list of model types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from decoder.errors import UnsupportedModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Stack", "context_length", "depth_names", "find_stack"]

# What configurations call the depth of a decoder; the decoder's own names before general ones.
_DEPTHS = ("decoder_layers", "num_decoder_layers", "num_hidden_layers", "num_layers")
_CONTEXTS = ("max_position_embeddings", "max_target_positions", "max_seq_len", "context_length")


@dataclass(frozen=True)
class Stack:
    """Where the decoder layers of a model live: `getattr(owner, attribute)` is the ModuleList."""

    path: str
    owner: nn.Module
    attribute: str

    @property
    def layers(self) -> nn.ModuleList:
        """The decoder layers in depth order."""
        return getattr(self.owner, self.attribute)

    def __len__(self) -> int:
        return len(self.layers)


def find_stack(model: PreTrainedModel) -> Stack:
    """The ModuleList that holds one module for each of the model's layers.

    It is the one as long as the configuration says the decoder is deep; where several are (lists
    of norms, say), the one in a part that has the decoder's configuration, then the one with the
    most parameters.

    Raises:
        UnsupportedModel: there is none, or layers use the keys and values of others.
    """
    text = model.config.get_text_config(decoder=True)
    depths = [getattr(text, name) for name in _named_depths(text)]
    if not depths:
        raise UnsupportedModel(
            f"model type {model.config.model_type}: its configuration has no num_hidden_layers; "
            "the decoder layers cannot be found"
        )
    _check_sharing(model)
    lists = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.ModuleList)]
    for depth in depths:
        found = [
            (_owns(model, name, text), sum(p.numel() for p in module.parameters()), name)
            for name, module in lists
            if len(module) == depth
        ]
        if found:
            path = max(found)[-1]
            owner, _, attribute = path.rpartition(".")
            return Stack(path, model.get_submodule(owner), attribute)
    raise UnsupportedModel(
        f"model type {model.config.model_type}: no list of {depths[0]} decoder layers found; "
        "only models that keep their layers in one ModuleList can be measured"
    )


def depth_names(text: Any, depth: int) -> tuple[str, ...]:
    """Name the configuration's own entries that say how deep the decoder is.

    Args:
        text: the decoder's configuration.
        depth: number of its layers, which tells an encoder's depth from the decoder's.
    """
    stored = getattr(type(text), "attribute_map", {})
    names = [name for name in _named_depths(text) if getattr(text, name) == depth]
    return tuple(dict.fromkeys(stored.get(name, name) for name in names[:1]))


def context_length(text: Any) -> int | None:
    """Tell the longest sequence that a model was made for; None where it says no limit.

    Args:
        text: the decoder's configuration.
    """
    values = (getattr(text, name, None) for name in _CONTEXTS)
    return next((v for v in values if isinstance(v, int) and v > 0), None)


def _owns(model: PreTrainedModel, path: str, text: Any) -> bool:
    """Whether the nearest part around a module that has a configuration has the decoder's."""
    while path:
        path = path.rpartition(".")[0]
        config = getattr(model.get_submodule(path), "config", None)
        if config is not None:
            return isinstance(config, type(text))
    return False


def _named_depths(text: Any) -> list[str]:
    return [n for n in _DEPTHS if isinstance(getattr(text, n, None), int)]


def _check_sharing(model: PreTrainedModel) -> None:
    text = model.config.get_text_config(decoder=True)
    shared = getattr(text, "num_kv_shared_layers", None) or sum(
        getattr(module, "is_kv_shared_layer", False) is True for module in model.modules()
    )
    if shared:
        raise UnsupportedModel(
            f"model type {model.config.model_type}: {shared} of its layers use the keys and values "
            "of earlier layers; leaving layers out cannot be measured"
        )
