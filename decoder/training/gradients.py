"""A model lent for gradients and given back as it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["differentiable"]


@contextmanager
def differentiable(model: PreTrainedModel, wanted: Iterable[nn.Parameter] = ()) -> Iterator[None]:
    """Within this context gradients flow through the model, to these parameters alone.

    The model is in evaluation mode meanwhile. Afterwards every parameter's `requires_grad` and
    gradient and every module's mode are as they were.

    Args:
        model: the model.
        wanted: parameters that get gradients; none where only something outside does.
    """
    parameters = list(model.parameters())
    before = [(parameter.requires_grad, parameter.grad) for parameter in parameters]
    training = [module for module in model.modules() if module.training]
    try:
        model.eval()
        for parameter in parameters:
            parameter.requires_grad_(False)
            parameter.grad = None
        for parameter in wanted:
            parameter.requires_grad_(True)
        with torch.inference_mode(False), torch.enable_grad():
            _own_buffers(model)
            yield
    finally:
        for parameter, (requires_grad, grad) in zip(parameters, before, strict=True):
            parameter.requires_grad_(requires_grad)
            parameter.grad = grad
        for module in training:
            module.training = True


def _own_buffers(model: PreTrainedModel) -> None:
    """Copy the buffers that a measurement made in inference mode, which autograd refuses."""
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_inference():
                module._buffers[name] = buffer.clone()
