"""Finding a decoder's stack of layers by its structure, not by a list of model types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from decoder.errors import UnsupportedModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Stack", "find_stack"]


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
    of norms, say), the one with the most parameters.

    Raises:
        UnsupportedModel: there is none, or layers use the keys and values of others.
    """
    depth = _depth(model.config)
    _check_sharing(model)
    found = [
        (sum(p.numel() for p in module.parameters()), name)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth
    ]
    if not found:
        raise UnsupportedModel(
            f"model type {model.config.model_type}: no list of {depth} decoder layers found; "
            "only models that keep their layers in one ModuleList can be measured"
        )
    path = max(found)[1]
    owner, _, attribute = path.rpartition(".")
    return Stack(path, model.get_submodule(owner), attribute)


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


def _depth(config: Any) -> int:
    text = config.get_text_config(decoder=True)
    depth = getattr(text, "num_hidden_layers", None)
    if not isinstance(depth, int):
        raise UnsupportedModel(
            f"model type {config.model_type}: its configuration has no num_hidden_layers; "
            "the decoder layers cannot be found"
        )
    return depth
