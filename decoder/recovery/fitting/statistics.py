"""Sums over tokens that a closed-form fit needs: outer products in float64, and no token is kept.

A few positions of real models, the first ones above all, hold activations a hundred times as large
as all others (Sun et al., "Massive Activations in Large Language Models", arXiv 2402.17762). Least
squares would fit nothing else, so positions whose norm is far beyond the median are left out of the
targets; what the fit adds there is to be nothing, which it would not be of itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from decoder.errors import RepairError

__all__ = ["MASSIVE", "Sums", "check_room", "check_tokens", "massive", "sums_bytes"]

MASSIVE = 8.0
"""Norms of so many times the median are massive activations; ordinary ones stay below four."""

_HELD = 4  # one of so many sequences is held out to choose the ridge on
_GIB = 2**30


def massive(*hidden: Tensor) -> Tensor:
    """Find the positions at which any of some states has a norm far beyond the median.

    Args:
        *hidden: states [B, T, D] at equal positions, of the dense and of the repaired model say.

    Returns:
        bool [B, T].
    """
    found = torch.zeros(hidden[0].shape[:2], dtype=torch.bool, device=hidden[0].device)
    for states_BTD in hidden:
        norms_BT = states_BTD.float().norm(dim=-1)
        found |= norms_BT > MASSIVE * norms_BT.median()
    return found


@dataclass
class Sums:
    """Sums for one least-squares fit R ~ Z A, of fitted and of held-out sequences apart.

    Attributes:
        gram: [2, F, F], sums of z z'.
        cross: [2, F, D], sums of z r'.
        square: [2], sums of r'r.
        tokens: [2], how many tokens.
        fixed: [F, F], sums of z z' of massive activations, which the fit is to leave as they are.
        left_out: how many they are; they are in no other sum.
    """

    gram: Tensor
    cross: Tensor
    square: Tensor
    tokens: list[int]
    fixed: Tensor
    left_out: int = 0

    @classmethod
    def empty(cls, inputs: int, outputs: int, device: torch.device) -> Sums:
        """No token yet.

        Args:
            inputs: F.
            outputs: D.
            device: where to sum.
        """

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=device)

        return cls(
            zeros(2, inputs, inputs),
            zeros(2, inputs, outputs),
            zeros(2),
            [0, 0],
            zeros(inputs, inputs),
        )

    def add(
        self, inputs_BTF: Tensor, missing_BTD: Tensor, out_BT: Tensor, first: int, what: str
    ) -> None:
        """Add a batch.

        Args:
            inputs_BTF: z.
            missing_BTD: r.
            out_BT: bool, positions whose answers are to stay as they are.
            first: number of the batch's first sequence.
            what: names the place in an error.

        Raises:
            RepairError: there are other than finite numbers.
        """
        good_BT = inputs_BTF.isfinite().all(-1) & missing_BTD.isfinite().all(-1)
        if not bool(good_BT.all()):
            share = 1 - float(good_BT.float().mean())
            raise RepairError(
                f"{what}: {share:.1%} of the tokens have states that are not finite; use "
                "--dtype float32 or another text"
            )
        if bool(out_BT.any()):
            z = inputs_BTF[out_BT].double()
            self.fixed.addmm_(z.T, z)
            self.left_out += len(z)
        for row in range(2):
            rows_B = torch.arange(first, first + len(out_BT), device=out_BT.device)
            chosen = ~out_BT & ((rows_B % _HELD == _HELD - 1) == bool(row))[:, None]
            z, r = inputs_BTF[chosen].double(), missing_BTD[chosen].double()
            self.gram[row].addmm_(z.T, z)
            self.cross[row].addmm_(z.T, r)
            self.square[row] += r.square().sum()
            self.tokens[row] += len(z)


def sums_bytes(inputs: int, outputs: int) -> int:
    """Bytes that a fit takes: its sums and the copies that solving it makes.

    Args:
        inputs: F.
        outputs: D.
    """
    return 8 * (4 * inputs * inputs + 4 * inputs * outputs)


def check_room(inputs: int, outputs: int, free: int, what: str) -> None:
    """Refuse sums that do not fit in memory.

    Args:
        inputs: F.
        outputs: D.
        free: bytes that may still be used.
        what: names the place.

    Raises:
        RepairError: they do not; it says what they take.
    """
    needed = sums_bytes(inputs, outputs)
    if needed > free:
        raise RepairError(
            f"memory: the Gram matrices of {what} take {needed / _GIB:.2f} GiB "
            f"({inputs:,} inputs) and {max(free, 0) / _GIB:.2f} are left; give more memory or "
            "another method"
        )


def check_tokens(tokens: int, inputs: int, what: str) -> str | None:
    """Refuse a fit on fewer tokens than it has inputs.

    Args:
        tokens: of the calibration text.
        inputs: F.
        what: names the place.

    Returns:
        A warning where there are fewer than four tokens an input, None otherwise.

    Raises:
        RepairError: there are fewer tokens than inputs.
    """
    if tokens < inputs:
        raise RepairError(
            f"tokens: {tokens:,} are fewer than the {inputs:,} inputs of {what}; give at least "
            f"{4 * inputs:,} tokens"
        )
    if tokens < 4 * inputs:
        return (
            f"{tokens:,} tokens are fewer than four for each of the {inputs:,} inputs of {what}; "
            "fitted with more ridge"
        )
    return None
