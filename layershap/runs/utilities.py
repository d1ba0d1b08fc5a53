"""What `--utility` names: which measured quantity decides, and what it is counted in."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layershap.errors import UserError

__all__ = ["Utility", "parse_utilities"]

_TEXT = {"nll": "nats per token", "kl": "nats per token", "top1": "share of tokens"}
_CHOICES = "choices:"


@dataclass(frozen=True)
class Utility:
    """One utility.

    Attributes:
        metric: the measured quantity, "nll" or "piqa.margin" say.
        unit: what it is counted in.
        file: the task's file; None for text.
    """

    metric: str
    unit: str
    file: str | None = None

    @property
    def in_nats(self) -> bool:
        """Whether it is a mean of log-likelihoods, with no lower bound."""
        return self.unit.startswith("nats")


def parse_utilities(texts: Sequence[str]) -> tuple[Utility, ...]:
    """The utilities of `--utility`, in order.

    A multiple-choice task decides by its margin, log p(gold) minus the log of the others' sum,
    which is smooth where accuracy is not; its accuracies are measured as well.

    Raises:
        UserError: one is unknown or named twice.
    """
    found = tuple(map(_parse, texts))
    names = [utility.metric for utility in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--utility: {name} is named twice; name each utility once")
    return found


def _parse(text: str) -> Utility:
    if text.startswith(_CHOICES) and text != _CHOICES:
        file = text.removeprefix(_CHOICES)
        return Utility(f"{Path(file).stem}.margin", "nats per item", file)
    if text in _TEXT:
        return Utility(text, _TEXT[text])
    near = difflib.get_close_matches(text, _TEXT, n=1)
    hint = f" (nearest: {near[0]})" if near else ""
    raise UserError(f"--utility {text}: unknown{hint}; choose nll, kl, top1 or choices:FILE")
