"""What a method costs in model tokens, so that methods can be compared at equal cost."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Spend"]


@dataclass(frozen=True)
class Spend:
    """Tokens that a method sends through the model.

    A pass through a shortened model counts as a whole one, and what the implementation does on
    the side (finding out how layers are called, say) does not count.

    Attributes:
        forward_tokens: tokens of forward passes.
        backward_tokens: tokens of backward passes; their forward passes are in `forward_tokens`.
    """

    forward_tokens: int
    backward_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Both in tokens of a forward pass; a backward pass costs about two of them."""
        return self.forward_tokens + 2 * self.backward_tokens

    def __add__(self, other: Spend) -> Spend:
        return Spend(
            self.forward_tokens + other.forward_tokens,
            self.backward_tokens + other.backward_tokens,
        )
