"""What a model is measured on: token sequences and multiple-choice tasks, as padded batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from decoder.data.choices import ChoiceTask
from decoder.data.text import TokenText, text_fingerprint
from decoder.errors import TextError
from sampling import stream

__all__ = ["TEXT_METRICS", "Batch", "Metric", "Workload", "batches", "task_batches"]

TEXT_METRICS = ("nll", "kl", "top1")
_WASTE = 1.25  # padded tokens a batch may hold for each real one


@dataclass(frozen=True)
class Metric:
    """One measured quantity.

    Attributes:
        name: "nll", "kl", "top1", or "TASK.acc", "TASK.acc_norm", "TASK.margin".
        weights: one a sequence (its scored tokens) or an item (1).
        sign: 1 where higher is better, -1 where lower is.
    """

    name: str
    weights: tuple[int, ...]
    sign: int


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows that go through the model together, padded on the right.

    Padding comes after everything that is scored, and attention is causal: it changes nothing.

    Attributes:
        tokens: token ids.
        places: flat indices b * T + t whose next token is scored, row after row.
        targets: the next token at each place.
        rows: number in the whole section of each row of the batch.
        counts: places of each row.
    """

    tokens: Int[np.ndarray, "B T"]
    places: Int[np.ndarray, "N"]
    targets: Int[np.ndarray, "N"]
    rows: Int[np.ndarray, "B"]
    counts: Int[np.ndarray, "B"]


@dataclass(frozen=True, eq=False)
class Workload:
    """Everything that one evaluation measures a model on.

    Attributes:
        text: sequences for NLL, divergence and agreement; None for tasks alone.
        tasks: multiple-choice tasks.
        score_share: share of each sequence's predicted tokens that is scored, the same random
            ones for every coalition. The model runs over all tokens either way; the head, often
            as dear as several layers, over the scored ones only.
        seed: of the choice of tokens.

    Raises:
        TextError: there is nothing to measure on, or the share is out of range.
    """

    text: TokenText | None = None
    tasks: tuple[ChoiceTask, ...] = ()
    score_share: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.text is None and not self.tasks:
            raise TextError("nothing to measure on; give a text or a task")
        if not 0 < self.score_share <= 1:
            raise TextError(f"--score-share {self.score_share}: must be above 0 and at most 1")
        names = [task.name for task in self.tasks]
        if len(set(names)) < len(names):
            raise TextError(f"two tasks are called {max(names, key=names.count)}; rename a file")
        if self.text is not None:
            shape = self.text.tokens.shape
            if len(shape) != 2 or shape[1] < 2 or shape[0] < 1:
                raise TextError(f"tokens of shape {shape}: needs sequences of at least 2 tokens")
            if not self.text.predicted.all():
                raise TextError("a sequence has no token that is scored; leave it out")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is measured, in the order in which it is stored."""
        found = []
        if self.text is not None:
            weights = tuple(len(places) for places in self.scored_places())
            found += [Metric(name, weights, 1 if name == "top1" else -1) for name in TEXT_METRICS]
        for task in self.tasks:
            ones = (1,) * len(task.gold_row)
            found += [Metric(name, ones, 1) for name in task.metrics]
        return tuple(found)

    @property
    def longest(self) -> int:
        """Tokens of the longest row that goes through the model."""
        lengths = [len(row) - 1 for task in self.tasks for row in task.rows]
        return max([*lengths, 0 if self.text is None else self.text.tokens.shape[1]])

    def scored_places(self) -> list[Int[np.ndarray, "P"]]:
        """For each sequence of the text, the positions whose next token is scored, ascending."""
        if self.text is None:
            return []
        if self.text.scored is not None:
            return self._answered(self.text.scored)
        rows, length = self.text.tokens.shape
        wanted = max(1, round(self.score_share * (length - 1)))
        if wanted == length - 1:
            return [np.arange(wanted)] * rows
        rng = stream(self.seed, "scored positions")
        return [np.sort(rng.permutation(length - 1)[:wanted]) for _ in range(rows)]

    def _answered(self, scored: Bool[np.ndarray, "S T"]) -> list[Int[np.ndarray, "P"]]:
        """The same where only some tokens are to be scored: a share of those."""
        rng, found = stream(self.seed, "scored positions"), []
        for row in scored[:, 1:]:
            places = np.flatnonzero(row)
            wanted = max(1, round(self.score_share * len(places)))
            found.append(np.sort(rng.permutation(places)[:wanted]))
        return found

    def text_batches(self, tokens_a_batch: int) -> list[Batch]:
        """The text in batches of whole sequences, in order."""
        if self.text is None:
            return []
        return batches(self.text.tokens, self.scored_places(), tokens_a_batch)

    def fingerprint(self) -> str:
        """Hex digest of all that decides a score."""
        digest = hashlib.blake2b(digest_size=16)
        if self.text is not None:
            digest.update(f"text {text_fingerprint(self.text.tokens)}".encode())
            if self.score_share < 1 or self.text.scored is not None:
                for places in self.scored_places():
                    digest.update(places.astype("<i8").tobytes())
        for task in self.tasks:
            digest.update(f"task {task.fingerprint()}".encode())
        return digest.hexdigest()


def task_batches(task: ChoiceTask, tokens_a_batch: int) -> list[Batch]:
    """A task's rows in batches of similar lengths: what predicts the continuations is scored."""
    # The last token of a row predicts nothing that is scored.
    places = [
        np.arange(len(row) - 1 - count, len(row) - 1)
        for row, count in zip(task.rows, task.continuations, strict=True)
    ]
    order = sorted(range(len(task.rows)), key=lambda row: (-len(task.rows[row]), row))
    return batches(task.rows, places, tokens_a_batch, order=order, last=False)


def batches(
    rows: Sequence[Int[np.ndarray, "t"]] | Int[np.ndarray, "S T"],
    places: Sequence[Int[np.ndarray, "p"]],
    tokens_a_batch: int,
    *,
    order: Iterable[int] | None = None,
    last: bool = True,
) -> list[Batch]:
    """Pad rows into batches of at most `tokens_a_batch` tokens, at least one row each.

    Args:
        rows: token ids of each row.
        places: positions of each row whose next token is scored.
        tokens_a_batch: tokens of a batch, padding included.
        order: the order in which rows fill batches; as given when omitted.
        last: whether a row's last token goes through the model.
    """
    found: list[list[int]] = []
    width = real = 0
    for row in range(len(rows)) if order is None else order:
        length = len(rows[row]) - (not last)
        grown = max(width, length) * (len(found[-1]) + 1) if found else 0
        if not found or grown > tokens_a_batch or grown > _WASTE * (real + length):
            found.append([])
            width = real = 0
        found[-1].append(row)
        width, real = max(width, length), real + length
    return [_padded(rows, places, group, last) for group in found]


def _padded(rows: Any, places: Any, group: Sequence[int], last: bool) -> Batch:
    lengths = [len(rows[row]) - (not last) for row in group]
    tokens = np.zeros((len(group), max(lengths)), dtype=np.int64)
    for line, (row, length) in enumerate(zip(group, lengths, strict=True)):
        tokens[line, :length] = rows[row][:length]
    scored = [places[row] for row in group]
    flat = [line * tokens.shape[1] + where for line, where in enumerate(scored)]
    targets = [np.asarray(rows[row])[where + 1] for row, where in zip(group, scored, strict=True)]
    return Batch(
        tokens,
        np.concatenate(flat),
        np.concatenate(targets).astype(np.int64),
        np.array(group),
        np.array([len(where) for where in scored]),
    )
