"""Which projection each half of a layer writes into the residual stream by, seen from what it does.

Halves are numbered through the depth: 2 l is the attention of layer l and 2 l + 1 its MLP. Half h
leads from position h of the residual stream to position h + 1; in layers whose halves run in
parallel only even positions are states of the stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from decoder.model.branches import Branches, State, find_branches, run_attention, run_mlp, run_whole
from decoder.model.structure import find_stack
from decoder.model.trace import LayerCall, record
from decoder.surgery.probe import probe_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Anatomy", "Writer", "half_name"]

_EXACT = 1e-3  # relative error up to which an answer counts as linear, in float32


def half_name(half: int) -> str:
    """What people call a half: "L4.attn", "L4.mlp"."""
    return f"L{half // 2}.{'mlp' if half % 2 else 'attn'}"


@dataclass(frozen=True)
class Writer:
    """The projection by which a half writes into the residual stream, exactly linearly.

    Attributes:
        half: whose it is.
        module: the projection.
        weight: full name of its weight.
        bias: full name of its bias; None where it has none.
        transposed: the weight is [inputs, outputs] and not [outputs, inputs].
        multiplier: what the layer multiplies its answer by before adding it to the stream.
    """

    half: int
    module: nn.Module
    weight: str
    bias: str | None
    transposed: bool
    multiplier: float

    @property
    def inputs(self) -> int:
        """Numbers that the projection is given for a token."""
        matrix: Any = self.module.weight
        return matrix.shape[0] if self.transposed else matrix.shape[1]


class Anatomy:
    """The halves and writers of a model, found where they are asked for, each once.

    Args:
        model: the original, any decoder whose layers are called once each in order.

    Attributes:
        model: the same.
        stack: its layers.
        depth: how many.
        returns: length of the tuple that layers return; 0 for a tensor.
        width: numbers that a position of the stream has.

    Raises:
        UnsupportedModel: the layers cannot be left out one by one.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.stack = find_stack(model)
        self.depth = len(self.stack)
        self.tokens_BT = probe_tokens(model)
        with torch.inference_mode():
            self.trace = record(model, self.stack, self.tokens_BT, every_input=True)
        self.returns = self.trace.returns
        self.width = self.trace.inputs[0].shape[-1]
        self._branches: dict[int, Branches] = {}
        self._writers: dict[int, Writer | None] = {}

    def branches(self, layer: int) -> Branches:
        """The two halves of a layer.

        Raises:
            UnsupportedModel: they cannot be told.
        """
        if layer not in self._branches:
            found = find_branches(self.trace.calls[layer], self.trace.inputs[layer])
            self._branches[layer] = found
        return self._branches[layer]

    def joined(self, layer: int) -> bool:
        """Whether the halves of a layer run in parallel, or have norms on the stream."""
        return self.branches(layer).joined

    @torch.inference_mode()
    def run(self, half: int, call: LayerCall, state: State, *, whole: bool = False) -> State:
        """The state after a half, or after the whole layer that it is the attention of.

        Args:
            half: which; a state that its layer's own attention did not make must have one member.
            call: of its layer.
            state: before it.
            whole: run the whole layer.
        """
        if whole:
            return run_whole(call, state)
        own = run_mlp if half % 2 else run_attention
        return own(self.branches(half // 2), call, state)

    def writer(self, half: int) -> Writer | None:
        """The projection that a half writes by; None where no single one does, or not linearly.

        A norm after the projection makes it non-linear (Gemma 2, OLMo 2), and several experts are
        several projections; the projection of a shared expert is found.

        Raises:
            UnsupportedModel: the halves of its layer cannot be told.
        """
        if half not in self._writers:
            self._writers[half] = self._find(half)
        return self._writers[half]

    @torch.inference_mode()
    def _find(self, half: int) -> Writer | None:
        layer, call = half // 2, self.trace.calls[half // 2]
        branches = self.branches(layer)
        state: State = (self.trace.inputs[layer],)
        if half % 2:
            state = run_attention(branches, call, state)
        calls = _projections(call.layer, branches, half, lambda: self.run(half, call, state))
        before = self.run(half, call, state)[0]
        for name, module, given, answer in reversed(calls):
            form = _form(module, given, answer)
            if form is None or answer.shape[-1] != self.width:
                continue
            noise = torch.randn(answer.shape, generator=torch.Generator().manual_seed(0))
            noise = noise.to(answer) * answer.float().std().clamp_min(1e-3).to(answer)
            handle = module.register_forward_hook(lambda m, a, out, noise=noise: out + noise)
            try:
                moved = (self.run(half, call, state)[0] - before).flatten(0, -2).float()
            finally:
                handle.remove()
            flat = noise.flatten(0, -2).float()
            multiplier = float((moved * flat).sum() / (flat * flat).sum())
            precise = max(_EXACT, 4 * torch.finfo(answer.dtype).eps)
            if multiplier and (moved - multiplier * flat).norm() <= precise * moved.norm():
                path = f"{self.stack.path}.{layer}.{name}"
                bias = getattr(module, "bias", None)
                return Writer(
                    half,
                    module,
                    f"{path}.weight",
                    None if bias is None else f"{path}.bias",
                    form,
                    round(multiplier, 6),
                )
        return None


def _projections(
    layer: nn.Module, branches: Branches, half: int, run: Any
) -> list[tuple[str, nn.Module, Tensor, Tensor]]:
    """Modules of a half that hold one matrix, in call order, with what they got and answered."""
    heard: list[tuple[str, nn.Module, Tensor, Tensor]] = []

    def listen(name: str, module: nn.Module) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
                heard.append((name, module, args[0], output))

        return module.register_forward_hook(hook)

    hooks = []
    for part in branches.mlp if half % 2 else branches.attention:
        for name, module in layer.get_submodule(part).named_modules():
            weight = getattr(module, "weight", None)
            if isinstance(weight, Tensor) and weight.ndim == 2:
                hooks.append(listen(f"{part}.{name}" if name else part, module))
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return heard


def _form(module: nn.Module, given: Tensor, answer: Tensor) -> bool | None:
    """Whether a projection's weight is transposed; None where it is no plain projection."""
    weight: Any = module.weight
    bias: Any = getattr(module, "bias", None)
    if not weight.is_floating_point():
        return None
    rows = given.flatten(0, -2).float()
    wanted = answer.flatten(0, -2).float()
    for transposed in (False, True):
        matrix = weight.float() if transposed else weight.float().T
        if matrix.shape != (rows.shape[1], wanted.shape[1]):
            continue
        own = rows @ matrix + (0 if bias is None else bias.float())
        limit = max(_EXACT, 4 * torch.finfo(answer.dtype).eps)
        if (own - wanted).norm() <= limit * wanted.norm():
            return transposed
    return None
