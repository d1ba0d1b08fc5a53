"""Which projection each half of a layer writes into the residual stream by, seen from what it does.

Half h (see `decoder.recovery.fitting.projections`) leads from position h of the stream to position
h + 1; in layers whose halves run in parallel only even positions are states of the stream.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from decoder.model.branches import Branches, State, find_branches, run_attention, run_mlp, run_whole
from decoder.model.lm_head import LinearLMHead, linear_lm_head
from decoder.model.structure import find_stack
from decoder.model.trace import LayerCall, record
from decoder.recovery.fitting.norm import Norm, plain_norm
from decoder.recovery.fitting.outputs import find_outputs
from decoder.recovery.fitting.projections import (
    EXACT,
    Output,
    Reader,
    Writer,
    heard_projections,
    projection_form,
)
from decoder.surgery.probe import probe_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Anatomy"]


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
        self._readers: dict[int, tuple[Reader, ...]] = {}
        self._outputs: dict[int, tuple[Output, ...]] = {}
        self._norms: dict[int, Norm | None] = {}

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
    def outputs(self, half: int) -> tuple[Output, ...]:
        """The parameters that a linear map of all that a half writes goes into.

        Those of its writer, or of several experts and the shared one. Nothing where there is none,
        or something else writes as well, as a norm after the projection.

        Raises:
            UnsupportedModel: the halves of its layer cannot be told.
        """
        if half not in self._outputs:
            self._outputs[half] = self._find_outputs(half)
        return self._outputs[half]

    @cached_property
    @torch.inference_mode()
    def head(self) -> LinearLMHead | None:
        """The model's way to logits, where it is norms and then one projection."""
        last_BTD = self.trace.inputs[-1]
        return linear_lm_head(self.model, self.stack, self.returns, self.tokens_BT, last_BTD)

    @property
    def head_name(self) -> str | None:
        """Full name of the weight of a head as in `head`; None for others."""
        own = self.model.get_output_embeddings()
        if (
            self.head is None
            or own is None
            or own.weight.data_ptr() != self.head.weight_VD.data_ptr()
        ):
            return None
        named = self.model.named_modules(remove_duplicate=False)
        return next(f"{name}.weight" for name, module in named if module is own)

    @property
    def tied(self) -> bool:
        """Whether the head's weight is the embedding's."""
        own = self.model.get_output_embeddings()
        return own is not None and own.weight is self.model.get_input_embeddings().weight

    @cached_property
    @torch.inference_mode()
    def embeddings(self) -> tuple[str, ...]:
        """Full names of the embeddings that the stream starts with, those of positions included."""
        found: list[str] = []

        def listen(name: str) -> Any:
            def hook(module: nn.Module, args: Any, output: Any) -> None:
                if isinstance(output, Tensor) and output.shape[-1] == self.width:
                    found.append(f"{name}.weight")

            return hook

        inside = f"{self.stack.path}."
        hooks = [
            module.register_forward_hook(listen(name))
            for name, module in self.model.named_modules()
            if isinstance(module, nn.Embedding) and not name.startswith(inside)
        ]
        try:
            self.model(input_ids=self.tokens_BT, use_cache=False)
        finally:
            for hook in hooks:
                hook.remove()
        return tuple(found)

    @torch.inference_mode()
    def readers(self, half: int) -> tuple[Reader, ...]:
        """The projections that a half hands its input to, all of them the same numbers.

        Nothing where something else reads that input too (a router, experts, a convolution).

        Raises:
            UnsupportedModel: the halves of its layer cannot be told.
        """
        if half not in self._readers:
            self._readers[half] = self._find_readers(half)
        return self._readers[half]

    @torch.inference_mode()
    def norm(self, half: int) -> Norm | None:
        """The norm that a half's readers stand behind; None where it is no plain RMS norm.

        Raises:
            UnsupportedModel: the halves of its layer cannot be told.
        """
        if half not in self._norms:
            readers = self.readers(half)
            self._norms[half] = self._find_norm(half, readers[0]) if readers else None
        return self._norms[half]

    def _find_norm(self, half: int, reader: Reader) -> Norm | None:
        call, _, state = self._start(half)
        heard: list[tuple[str, nn.Module, Tensor]] = []
        given: list[Tensor] = []

        def listen(name: str) -> Any:
            return lambda module, args, output: heard.append((name, module, output))

        hooks = [
            module.register_forward_hook(listen(name))
            for name, module in call.layer.named_modules()
            if getattr(getattr(module, "weight", None), "ndim", 0) == 1
        ]
        hooks.append(reader.module.register_forward_pre_hook(lambda m, args: given.append(args[0])))
        try:
            self.run(half, call, state)
        finally:
            for hook in hooks:
                hook.remove()
        for name, module, output in heard:
            if output.data_ptr() == given[-1].data_ptr() and output.shape == given[-1].shape:
                path = f"{self.stack.path}.{half // 2}.{name}"
                return plain_norm(module, f"{path}.weight")
        return None

    def _start(self, half: int) -> tuple[LayerCall, Branches, State]:
        layer, call = half // 2, self.trace.calls[half // 2]
        branches = self.branches(layer)
        state: State = (self.trace.inputs[layer],)
        return call, branches, run_attention(branches, call, state) if half % 2 else state

    def _find_readers(self, half: int) -> tuple[Reader, ...]:
        call, branches, state = self._start(half)
        calls = heard_projections(call.layer, branches, half, lambda: self.run(half, call, state))
        if not calls:
            return ()
        first = calls[0][2]
        found = []
        for name, module, given, answer in calls:
            if given.data_ptr() != first.data_ptr() or given.shape[-1] != first.shape[-1]:
                continue
            form = projection_form(module, given, answer)
            if form is None or given.shape[-1] != self.width:
                return ()
            path = f"{self.stack.path}.{half // 2}.{name}.weight"
            found.append(Reader(module, path, form))
        # With their weights zero a half must not see its input any more.
        kept = [(reader.module.weight, reader.module.weight.data) for reader in found]
        other = (state[0].flip(-1), *state[1:])
        try:
            for parameter, value in kept:
                parameter.data = torch.zeros_like(value)
            one, two = self.run(half, call, state)[0], self.run(half, call, other)[0]
        finally:
            for parameter, value in kept:
                parameter.data = value
        if self.joined(half // 2):
            return tuple(found)
        blind = (one - state[0]) - (two - other[0])
        limit = 16 * torch.finfo(one.dtype).eps * float(one.float().abs().max())
        return tuple(found) if float(blind.float().abs().max()) <= limit else ()

    def _find_outputs(self, half: int) -> tuple[Output, ...]:
        call, branches, state = self._start(half)
        writer = self.writer(half)

        def written() -> Tensor:
            return self.run(half, call, state)[0] - state[0]

        if writer is not None:
            mute: Any = lambda module, args, answer: torch.zeros_like(answer)  # noqa: E731
            silence = writer.module.register_forward_hook(mute)
            try:
                rest = 0.0 if self.joined(half // 2) else float(written().float().norm())
            finally:
                silence.remove()
            if rest <= EXACT * float(written().float().norm()):
                return writer.outputs
        if self.joined(half // 2):
            return ()
        inside = f"{self.stack.path}.{half // 2}."
        parameters = [
            (f"{inside}{part}.{name}", parameter)
            for part in (branches.mlp if half % 2 else branches.attention)
            for name, parameter in call.layer.get_submodule(part).named_parameters()
        ]
        return find_outputs(parameters, self.width, written)

    @torch.inference_mode()
    def _find(self, half: int) -> Writer | None:
        layer = half // 2
        call, branches, state = self._start(half)
        calls = heard_projections(call.layer, branches, half, lambda: self.run(half, call, state))
        before = self.run(half, call, state)[0]
        for name, module, given, answer in reversed(calls):
            form = projection_form(module, given, answer)
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
            precise = max(EXACT, 4 * torch.finfo(answer.dtype).eps)
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
