"""Other weights in a model for as long as a context lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["changed"]


@contextmanager
def changed(changes: Iterable[tuple[nn.Parameter, Callable[[], Tensor]]]) -> Iterator[None]:
    """Give parameters other values within this context; afterwards they are bit for bit as before.

    Args:
        changes: parameters, each with what makes its value; one after the other, so that a value
            may be made of those before it.
    """
    before: list[tuple[nn.Parameter, Tensor]] = []
    try:
        for parameter, make in changes:
            # A parameter and its value must both belong to inference mode, or neither.
            with torch.inference_mode(parameter.is_inference()), torch.no_grad():
                before.append((parameter, parameter.data))
                parameter.data = make()
        yield
    finally:
        for parameter, value in reversed(before):
            with torch.inference_mode(parameter.is_inference()):
                parameter.data = value
