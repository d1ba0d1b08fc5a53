"""A model without weights, and part of its weights loaded into it by transformers' own loader.

Renamed keys, merged experts, tied weights, weights that stay in float32 and buffers that no
checkpoint holds come out as they do when the whole model is loaded, since the same code does it.
"""

from __future__ import annotations

import logging as standard_logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from decoder.checkpoint.shards import StoredTensor
from decoder.checkpoint.weight_map import Recipe, read_tensor
from decoder.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["build_skeleton", "finish_loading", "load_weights", "missing_weights"]


def build_skeleton(config: Any, dtype: torch.dtype, trust_remote_code: bool) -> PreTrainedModel:
    """Builds a model on the meta device, each weight in the type it is loaded in.

    Args:
        config: of the model, as transformers reads it.
        dtype: of the weights, where the model does not keep another.
        trust_remote_code: whether code that the checkpoint brings may run.

    Raises:
        Exception: whatever the model's own code raises for a configuration that it cannot take.
    """
    from transformers import AutoModelForCausalLM
    from transformers.initialization import meta_device_safe_creation_ops

    with torch.device("meta"), meta_device_safe_creation_ops():
        model = AutoModelForCausalLM.from_config(
            config, dtype=dtype, trust_remote_code=trust_remote_code
        )
    # Some weights (routers, say) stay in float32 whatever the rest is in.
    for pattern, kept in model._get_dtype_plan(dtype).items():
        expression = re.compile(pattern.replace("*", ".*"))
        for name, parameter in model.named_parameters():
            if expression.search(name):
                parameter.data = parameter.data.to(kept)
        for name, buffer in model.named_buffers():
            if expression.search(name) and buffer.is_floating_point():
                owner, _, attribute = name.rpartition(".")
                setattr(model.get_submodule(owner), attribute, buffer.to(kept))
    return model.eval().requires_grad_(False)


def load_weights(
    model: PreTrainedModel,
    recipes: Sequence[Recipe],
    dtype: torch.dtype,
    placement: Mapping[str, str | torch.device],
) -> Any:
    """Set the weights that these recipes make, through transformers' own loader.

    Args:
        model: the model whose weights are set.
        recipes: what to load.
        dtype: the type the model is used in; weights that the skeleton has in another keep it.
        placement: device by prefix of the weight's name, "" for all others. What goes to the meta
            device is not read.

    Returns:
        Transformers' own account: missing, mismatched and unexpected names.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import convert_and_load_state_dict_in_model
    from transformers.modeling_utils import LoadStateDictConfig

    state: dict[str, Any] = {}
    for recipe in recipes:
        absent = _placed(placement, recipe.target) == "meta"
        for source in recipe.sources:
            state[source.name] = _Lazy(_reader(source, absent))
    mapping: Any = get_model_conversion_mapping(model)
    config = LoadStateDictConfig(
        device_map=dict(placement),
        dtype=dtype,
        dtype_plan=model._get_dtype_plan(dtype),
        weight_mapping=mapping,
    )
    with _quiet():
        info, _ = convert_and_load_state_dict_in_model(model, state, config)
    if info.conversion_errors:
        name = sorted(info.conversion_errors)[0]
        raise ModelError(
            f"model type {model.config.model_type}: {name} cannot be made of what is stored; "
            "save or download the checkpoint again"
        )
    return info


def missing_weights(
    model: PreTrainedModel, recipes: Sequence[Recipe]
) -> tuple[list[str], list[str]]:
    """Names of weights that no stored tensor makes, and of those made in another shape.

    Args:
        model: a skeleton on the meta device. Its weights are replaced by others there.
        recipes: of `plan_weights`.
    """
    info = load_weights(model, recipes, model.dtype, {"": "meta"})
    with _quiet():
        model.tie_weights(missing_keys=info.missing_keys, recompute_mapping=False)
    model._adjust_missing_and_unexpected_keys(info)
    return sorted(info.missing_keys), sorted(name for name, *_ in info.mismatched_keys)


def finish_loading(
    model: PreTrainedModel, info: Any, placement: Mapping[str, str | torch.device]
) -> None:
    """Tie weights and compute the buffers that no checkpoint holds.

    Args:
        model: the model whose weights were set by `load_weights`.
        info: what `load_weights` returned.
        placement: device by prefix; buffers of all prefixes go to that of "".
    """
    with _quiet():
        model.mark_tied_weights_as_initialized(info)
        unmade = set(info.missing_keys)
        model.tie_weights(missing_keys=info.missing_keys, recompute_mapping=False)
        model._adjust_missing_and_unexpected_keys(info)
        tied = set(model.all_tied_weights_keys) | set(model.all_tied_weights_keys.values())
        # Weights that a checkpoint may lack, and buffers: transformers sets them itself.
        names = sorted(unmade - info.missing_keys - tied)
        names += [name for name, _ in model.named_non_persistent_buffers(remove_duplicate=False)]
        for name in names:
            _set(model, name, torch.empty_like(model.get_parameter_or_buffer(name), device="cpu"))
        # Computed on the CPU, as by a whole load: a GPU's powers and sines differ in the last bit.
        model.initialize_weights()
        for name in names:
            _set(model, name, model.get_parameter_or_buffer(name).to(placement[""]))


class _Lazy:
    """A stored tensor whose indexing reads it: what transformers' loader expects of a slice."""

    def __init__(self, make: Callable[[], Tensor]) -> None:
        self._make = make

    def __getitem__(self, index: Any) -> Tensor:
        return self._make()


def _reader(source: StoredTensor, absent: bool) -> Callable[[], Tensor]:
    def make() -> Tensor:
        if absent:
            return torch.empty(source.shape, dtype=source.dtype, device="meta")
        tensor = torch.empty(source.shape, dtype=source.dtype, device="cpu")
        read_tensor(source, tensor)
        return tensor

    return make


def _set(model: PreTrainedModel, name: str, value: Tensor) -> None:
    owner, _, attribute = name.rpartition(".")
    module = model.get_submodule(owner)
    if attribute in module._parameters:
        module._parameters[attribute] = torch.nn.Parameter(value, requires_grad=False)
    else:
        module._buffers[attribute] = value


def _placed(placement: Mapping[str, str | torch.device], name: str) -> str:
    fitting = [p for p in placement if not p or name == p or name.startswith(f"{p}.")]
    return str(placement[max(fitting, key=len)])


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar and no report of a load that is only one part of the model."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logger = standard_logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(standard_logging.ERROR)
    try:
        with torch.inference_mode(False), torch.no_grad():
            yield
    finally:
        logger.setLevel(level)
