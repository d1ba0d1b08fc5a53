"""Multiple-choice tasks: token rows and scores by the rules of lm-evaluation-harness.

A choice is scored by the log-likelihood of its tokens after the question. The rules are those of
lm-evaluation-harness 0.4.13 (https://github.com/EleutherAI/lm-evaluation-harness) for a
`multiple_choice` task without examples and a causal model, so that the accuracies are the ones
its users report.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32, Int

from decoder.data.items import ChoiceItem, read_choices, split_items
from decoder.errors import TaskError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "ChoiceItem",
    "ChoiceTask",
    "encode_choices",
    "fitting_items",
    "read_choices",
    "split_items",
]

_RULES = "lm-evaluation-harness 0.4.13, multiple_choice"
_DELIMITER = " "


@dataclass(frozen=True, eq=False)
class ChoiceTask:
    """Items as rows of tokens, one a choice, and the scores that their log-likelihoods give.

    Attributes:
        name: short name, the prefix of the metrics, such as "piqa".
        source: where the items came from, for people.
        rows: R arrays of int64 ids, question and choice, cut from the left to the model's context
            and one token more: the last token of a row is only predicted.
        continuations: Int64[R], how many last tokens of each row belong to the choice.
        items: Int64[R], the item of each row; the rows of an item stand together, in order.
        gold_row: Int64[I], the row of each item's right choice.
        characters: Int64[R], length of each choice's text.
    """

    name: str
    source: str
    rows: tuple[Int[np.ndarray, "t"], ...]
    continuations: Int[np.ndarray, "R"]
    items: Int[np.ndarray, "R"]
    gold_row: Int[np.ndarray, "I"]
    characters: Int[np.ndarray, "R"]

    @property
    def metrics(self) -> tuple[str, str, str]:
        """Names of the scores, in the order of `score`."""
        return (f"{self.name}.acc", f"{self.name}.acc_norm", f"{self.name}.margin")

    def score(self, loglik: Float[np.ndarray, "B R"]) -> dict[str, Float32[np.ndarray, "B I"]]:
        """Scores of every item from the log-likelihoods of the choices.

        Args:
            loglik: natural log-likelihood of each row's continuation, summed over its tokens; one
                line a model.

        Returns:
            By metric name: "acc", 1 where the likeliest choice is the right one, else 0;
            "acc_norm", the same with log-likelihoods divided by the choice's characters; "margin",
            the log-odds of the right choice against all others together, in nats. The first of
            equally likely choices counts. All three are NaN where a log-likelihood of the item is.

        Raises:
            ValueError: not one column a row.
        """
        scores = np.asarray(loglik, dtype=np.float64)
        if scores.ndim != 2 or scores.shape[1] != len(self.rows):
            raise ValueError(
                f"loglik must be [B, {len(self.rows)}], got {list(scores.shape)}; "
                "pass one column a row of the task"
            )
        starts = np.searchsorted(self.items, np.arange(len(self.gold_row)))
        others = scores.copy()
        others[:, self.gold_row] = -np.inf
        with np.errstate(invalid="ignore"):  # two impossible choices have no odds: NaN
            margin = scores[:, self.gold_row] - np.logaddexp.reduceat(others, starts, axis=1)
        unknown = np.logical_or.reduceat(np.isnan(scores), starts, axis=1)
        found = (
            self._right(scores, starts),
            self._right(scores / self.characters, starts),
            margin,
        )
        return {
            name: np.where(unknown, np.nan, values).astype(np.float32)
            for name, values in zip(self.metrics, found, strict=True)
        }

    def fingerprint(self) -> str:
        """Hex digest of everything that decides a score: name, rules, tokens, right answers."""
        digest = hashlib.blake2b(f"{self.name}\n{_RULES}\n".encode(), digest_size=16)
        lengths = np.array([len(row) for row in self.rows])
        tables = (lengths, self.continuations, self.items, self.gold_row, self.characters)
        for table in (*tables, *self.rows):
            digest.update(f"{len(table)} ".encode())
            digest.update(np.ascontiguousarray(table, dtype="<i8").data)
        return digest.hexdigest()

    def _right(
        self, scores: Float[np.ndarray, "B R"], starts: Int[np.ndarray, "I"]
    ) -> Float[np.ndarray, "B I"]:
        """1 where the first of an item's highest scores is the right choice's, else 0."""
        highest = np.maximum.reduceat(scores, starts, axis=1)[:, self.items]
        rows = np.where(scores == highest, np.arange(len(self.rows)), len(self.rows))
        return (np.minimum.reduceat(rows, starts, axis=1) == self.gold_row).astype(np.float64)


def encode_choices(
    items: Sequence[ChoiceItem],
    tokenizer: PreTrainedTokenizerBase,
    *,
    name: str,
    source: str,
    context: int,
    bos: bool | None = None,
) -> ChoiceTask:
    """Token rows of the items, as lm-evaluation-harness makes them.

    One space parts question and choice. White space at the end of the question moves to the choice.
    The question is encoded alone and with the choice; what the second has after as many tokens as
    the first is the choice's. An empty question becomes the beginning-of-text (else end-of-text)
    token.

    Args:
        items: at least one.
        tokenizer: the model's.
        name: see `ChoiceTask`.
        source: see `ChoiceTask`.
        context: positions of the model; longer rows lose tokens on the left.
        bos: put the beginning-of-text token first, or not; None does what the tokenizer does by
            itself (the harness' `add_bos_token`).

    Raises:
        TaskError: no items, a tokenizer without the token that is asked for, or a choice of no
            tokens or of more than the context holds (see `fitting_items`); names the item, counted
            from 1.
    """
    if not items:
        raise TaskError(f"task {name}: no items to encode; give at least one")
    if context < 1:
        raise TaskError(f"context: at least 1 position is needed, got {context}")
    encoder = _Encoder.of(tokenizer, bos)
    rows, continuations, owners, characters, gold_row = [], [], [], [], []
    for number, item in enumerate(items):
        gold_row.append(len(rows) + item.gold)
        for choice, (question, answer) in zip(item.choices, encoder.pairs(item), strict=True):
            problem = _problem(question, answer, context)
            if problem:
                raise TaskError(
                    f"task {name}: item {number + 1} ({_beginning(item.query)}), choice "
                    f"{_beginning(choice)}: {problem}"
                )
            rows.append(np.array([*question, *answer][-(context + 1) :], dtype=np.int64))
            continuations.append(len(answer))
            owners.append(number)
            characters.append(len(choice))
    return ChoiceTask(
        name=name,
        source=source,
        rows=tuple(rows),
        continuations=np.array(continuations),
        items=np.array(owners),
        gold_row=np.array(gold_row),
        characters=np.array(characters),
    )


def fitting_items(
    items: Sequence[ChoiceItem],
    tokenizer: PreTrainedTokenizerBase,
    *,
    context: int,
    bos: bool | None = None,
) -> list[ChoiceItem]:
    """The items none of whose choices has more tokens than the model's context.

    The harness fails on the others, and a choice that is cut has no likelihood to compare.

    Args:
        items: items to look through.
        tokenizer: see `encode_choices`.
        context: see `encode_choices`.
        bos: see `encode_choices`.
    """
    encoder = _Encoder.of(tokenizer, bos)
    return [
        item for item in items if all(len(answer) <= context for _, answer in encoder.pairs(item))
    ]


@dataclass(frozen=True)
class _Encoder:
    """A tokenizer used as the harness uses it.

    Attributes:
        tokenizer: the model's.
        bos: see `encode_choices`.
        prefix: the token that stands for an empty question; None where there is none.
        prefix_text: its text; a question that starts with it gets no special tokens.
    """

    tokenizer: PreTrainedTokenizerBase
    bos: bool | None
    prefix: int | None
    prefix_text: str | None

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, bos: bool | None) -> _Encoder:
        if bos and tokenizer.bos_token_id is None:
            raise TaskError("bos: this tokenizer has no beginning-of-text token; leave bos out")
        prefix: Any = tokenizer.bos_token_id
        if prefix is None:
            prefix = tokenizer.eos_token_id
        text: Any = None if prefix is None else tokenizer.decode([prefix])
        return cls(tokenizer, bos, prefix, text)

    def pairs(self, item: ChoiceItem) -> list[tuple[list[int], list[int]]]:
        """For each choice, the tokens of the question and those of the choice."""
        if not item.query:
            return [self._without_question(_DELIMITER + choice) for choice in item.choices]
        query = item.query.rstrip()
        question = self._encode(query)
        between = item.query[len(query) :] + _DELIMITER
        whole = [self._encode(query + between + choice) for choice in item.choices]
        return [(question, ids[len(question) :]) for ids in whole]

    def _without_question(self, text: str) -> tuple[list[int], list[int]]:
        answer = self._plain(text)
        if self.prefix is None:
            return [], answer
        if answer[:1] == [self.prefix]:
            return answer[:1], answer[1:]
        return [self.prefix], answer

    def _encode(self, text: str) -> list[int]:
        if self.bos is False or (
            self.prefix_text is not None and text.startswith(self.prefix_text)
        ):
            return self._plain(text)
        ids = self.tokenizer.encode(text, verbose=False)
        if self.bos and ids[:1] != [self.prefix]:
            return [self.prefix, *ids]  # type: ignore[list-item]
        return ids

    def _plain(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False, verbose=False)


def _problem(question: Sequence[int], answer: Sequence[int], context: int) -> str | None:
    """What keeps a choice from being scored, None where nothing does."""
    if not answer:
        return "no tokens of its own after the question; change one or the other"
    if not question:
        return (
            "no token to predict it from (a question of white space alone, or an empty one without "
            "a beginning-of-text token); give the question text"
        )
    if len(answer) > context:
        return f"{len(answer)} tokens, more than the model's context of {context}; drop the item"
    return None


def _beginning(text: str, most: int = 40) -> str:
    return repr(text if len(text) <= most else text[: most - 3] + "...")
