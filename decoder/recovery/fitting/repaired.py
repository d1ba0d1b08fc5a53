"""The repaired model's residual stream, half by half, with the weights that were fitted so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from decoder.model.branches import State
from decoder.recovery.fitting.dense import DenseStream
from decoder.recovery.fitting.path import Cut, Path
from decoder.recovery.fitting.projections import Writer, half_name
from decoder.recovery.fitting.ridge import FEW_TOKENS, STRENGTHS, Ridge, fit_ridge
from decoder.recovery.fitting.statistics import Sums, check_room, check_tokens, massive
from decoder.surgery.weights import changed

__all__ = ["RepairedStream"]

_KEPT = 0.25  # of the memory that is left may go to what a projection is given


class RepairedStream:
    """Runs what remains over the calibration text and fits weights where it is told to.

    It starts at the dense model's own states at the first cut, or before the first half that is
    fitted, and only ever goes on; what was fitted is in force from its half on.

    Args:
        dense: the dense model's stream over the text.
        path: what remains.

    Attributes:
        dense: the same.
        path: the same.
        anatomy: of the model.
        values: new values of parameters in float32, by name.
        warnings: what a person should know, one line each.
        left_out: tokens with massive activations in the fit that has most of them.
        missing: squares of the dense stream that the fits leave unexplained, summed over fits.
        modules: matrices at cuts that no weight holds, by the position of the cut's end.
        states: where the stream stands, one state a batch, before the next kept half.
    """

    def __init__(self, dense: DenseStream, path: Path) -> None:
        self.dense = dense
        self.path = path
        self.anatomy = dense.anatomy
        self.values: dict[str, Tensor] = {}
        self.warnings: list[str] = []
        self.left_out = 0
        self.missing = 0.0
        self.modules: dict[int, Tensor] = {}
        self._parameters = dict(self.anatomy.model.named_parameters(remove_duplicate=False))
        self._next = 0
        self._states: list[State] | None = None

    @property
    def states(self) -> list[State]:
        """Where the stream stands."""
        if self._states is None:
            self._states = self.dense.at(0)
        return self._states

    @states.setter
    def states(self, states: list[State]) -> None:
        self._states = states

    def fork(self, path: Path) -> RepairedStream:
        """Make a stream that stands where this one does and goes on by itself.

        Args:
            path: what remains; the same as here up to where this stream stands.
        """
        other = RepairedStream(self.dense, path)
        other.values = dict(self.values)
        other.warnings = list(self.warnings)
        other._states, other._next = self._states, self._next
        return other

    def value(self, name: str) -> Tensor:
        """A parameter's new value, or its own, in float32."""
        return self.values[name] if name in self.values else self._parameters[name].detach().float()

    def patches(self, stored: torch.dtype | None) -> dict[str, Tensor]:
        """The new values, rounded once to the type that they are stored in.

        Args:
            stored: that type; each parameter's own when omitted.
        """
        return {
            name: value.to(stored or self._parameters[name].dtype).contiguous()
            for name, value in self.values.items()
        }

    def advance(self, half: int) -> None:
        """Run the kept halves before one.

        Args:
            half: the number of a kept half, or the position of the end.
        """
        halves = self.path.halves
        if self._states is None:
            # Up to the first cut it is the dense model.
            cuts = self.path.cuts
            start = min(half, cuts[0].start if cuts else self.path.end)
            self._states = self.dense.at(start)
            self._next = sum(h < start for h in halves)
        while self._next < len(halves) and halves[self._next] < half:
            own = halves[self._next]
            both = own % 2 == 0 and own + 1 in halves[self._next : self._next + 2]
            whole = both and own + 1 < half
            self.states = [state for state, _ in self._run(own, whole=whole)]
            self._next += 2 if whole else 1

    def stand(self, cut: Cut) -> tuple[list[Tensor], list[Tensor]]:
        """Run to a cut.

        Returns:
            Hidden states [B, T, D] of all batches that arrive there, and the dense model's after
            the cut.
        """
        wanted = self.dense.hidden(self.position_after(cut))
        self.advance(cut.stop)
        return [state[0] for state in self.states], wanted

    def position_after(self, cut: Cut) -> int:
        """The position of the dense stream that what follows a cut reads."""
        inside = cut.stop % 2 == 1 and self.anatomy.joined(cut.stop // 2)
        return cut.stop - 1 if inside else cut.stop

    def transform(self, scale: Tensor) -> None:
        """Multiply the stream where it stands by a matrix [D, D] or a scalar tensor."""
        self.states = [(_times(state[0], scale),) for state in self.states]

    def fit(self, half: int, *, keep_massive: bool = False) -> float:
        """Fit the projection of a kept half so that the stream meets the dense one after it.

        Args:
            half: which; it must have a writer, and a target.
            keep_massive: leave no position out of the sums.

        Returns:
            The share of the missing squares that it explains on held-out sequences of the text.

        Raises:
            RepairError: too few tokens or too little memory, or states that are not finite.
        """
        writer = self.anatomy.writer(half)
        assert writer is not None
        found = self._solve(half, writer, writer.inputs, lambda given, *_: given, keep_massive)
        more = found.matrix if writer.transposed else found.matrix.T
        self.values[writer.weight] = (self.value(writer.weight).double() + more).float()
        return found.explained

    def map(self, half: int, *, keep_massive: bool = False) -> float:
        """Fit a linear map of what a kept half writes, and fold it into all that writes there.

        Where something besides its writer writes that cannot be mapped, its writer alone is mapped.

        Args:
            half: which; it must have outputs or a writer, and a target.
            keep_massive: as for `fit`.

        Returns:
            As `fit` does.

        Raises:
            RepairError: as for `fit`.
        """
        outputs, writer = self.anatomy.outputs(half), self.anatomy.writer(half)
        if writer is not None and outputs in ((), writer.outputs):
            outputs, one = writer.outputs, writer

            def mapped(given_BTF: Tensor, before_BTD: Tensor, after_BTD: Tensor) -> Tensor:
                return self._answers(one, given_BTF)

        else:
            writer = None

            def mapped(given_BTF: Tensor, before_BTD: Tensor, after_BTD: Tensor) -> Tensor:
                return after_BTD.float() - before_BTD.float()

        found = self._solve(half, writer, self.anatomy.width, mapped, keep_massive)
        for output in outputs:
            self.values[output.name] = output.added(self.value(output.name), found.matrix)
        return found.explained

    def _solve(
        self,
        half: int,
        writer: Writer | None,
        inputs: int,
        regressors: Callable[[Tensor, Tensor, Tensor], Tensor],
        keep_massive: bool,
    ) -> Ridge:
        """Fit what the stream misses after a half to something, and go on past the half.

        Args:
            half: which.
            writer: what is listened to, and multiplies; None for nothing.
            inputs: F.
            regressors: makes [B, T, F] of what the writer is given and the stream before and after.
            keep_massive: as for `fit`.
        """
        target = self.path.target(half, self.anatomy)
        assert target is not None
        place = "all that writes" if writer is None else writer.weight.split(".")[-2]
        what = f"{half_name(half)}, {place}"
        multiplier = 1.0 if writer is None else writer.multiplier
        warning = self.warn(inputs, what)
        wanted = self.dense.hidden(target)
        self.advance(half)
        check_room(inputs, self.anatomy.width, self.dense.free, what)
        sums = Sums.empty(inputs, self.anatomy.width, wanted[0].device)
        # What the projection is given is kept where it fits, so that the half need not run again.
        keeps = self.dense.tokens * inputs * 4 < _KEPT * self.dense.free
        kept: list[tuple[Tensor, Tensor]] = []
        for batch, target_BTD, before, (after, given) in zip(
            self.dense.batches, wanted, self.states, self._run(half, listen=writer), strict=True
        ):
            out_BT = massive(target_BTD, after[0])
            if keep_massive:
                out_BT = torch.zeros_like(out_BT)
            missing_BTD = (target_BTD.float() - after[0].float()) / multiplier
            given_BTF = before[0] if given is None else given.reshape(*out_BT.shape, -1)
            given_BTF = regressors(given_BTF, before[0], after[0])
            sums.add(given_BTF, missing_BTD, out_BT, batch.first, what)
            if keeps:
                kept.append((after[0], given_BTF))
        self.left_out = max(self.left_out, sums.left_out)
        found = fit_ridge(sums, FEW_TOKENS if warning else STRENGTHS)
        self.missing += (1 - found.explained) * float(sums.square.sum())
        if keeps:
            more = (multiplier * found.matrix).float()
            self.states = [
                ((after.float() + given.float() @ more).to(after.dtype),) for after, given in kept
            ]
            self._next += 1
        return found

    def warn(self, inputs: int, what: str) -> bool:
        """Refuse too few tokens for a fit, and note a warning where they are few.

        Args:
            inputs: numbers that the fit is given for a token.
            what: names the place.

        Returns:
            Whether they are few.

        Raises:
            RepairError: they are fewer than the inputs.
        """
        warning = check_tokens(self.dense.tokens, inputs, what)
        if warning:
            self.warnings.append(warning)
        return warning is not None

    def _answers(self, writer: Writer, given_BTF: Tensor) -> Tensor:
        weight = self.value(writer.weight)
        answer_BTD = given_BTF.float() @ (weight if writer.transposed else weight.T)
        return answer_BTD if writer.bias is None else answer_BTD + self.value(writer.bias)

    def _run(
        self, half: int, *, whole: bool = False, listen: Writer | None = None
    ) -> Iterator[tuple[State, Tensor | None]]:
        """The state after a half in each batch, and what its projection was given."""
        layer = half // 2
        follows = half % 2 == 1 and self._next > 0 and self.path.halves[self._next - 1] == half - 1
        with self._in_force(layer):
            for batch, state in zip(self.dense.batches, self.states, strict=True):
                pending = state if follows else state[:1]
                with _heard(listen) as given:
                    after = self.anatomy.run(half, batch.calls[layer], pending, whole=whole)
                yield after, given[-1] if given else None

    @contextmanager
    def _in_force(self, layer: int) -> Iterator[None]:
        prefix = f"{self.anatomy.stack.path}.{layer}."
        names = [name for name in self.values if name.startswith(prefix)]
        with changed(
            (self._parameters[name], partial(self.values[name].to, self._parameters[name].dtype))
            for name in names
        ):
            yield


@contextmanager
def _heard(writer: Writer | None) -> Iterator[Sequence[Tensor]]:
    """Lend what a projection is given within this context."""
    given: list[Tensor] = []
    if writer is None:
        yield given
        return

    def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
        given.append(args[0])

    handle = writer.module.register_forward_pre_hook(hook)
    try:
        yield given
    finally:
        handle.remove()


def _times(hidden_BTD: Tensor, scale: Tensor) -> Tensor:
    scale = scale.to(hidden_BTD)
    return hidden_BTD * scale if scale.ndim == 0 else hidden_BTD @ scale
