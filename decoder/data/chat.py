"""Conversations as a model was trained on them: by its own template, with only answers scored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from decoder.data.text import TokenStream, check_readable
from decoder.errors import TextError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Conversation", "encode_chat", "read_conversations"]

Conversation = Sequence[Mapping[str, str]]
"""Messages in order, each with a role and its content."""

_ANSWERS = "assistant"


def read_conversations(path: str) -> list[Conversation]:
    """Read JSON lines of records with `messages`, or with `prompt` and `completion`.

    Args:
        path: the file; a message has a `role` and a `content`, both text.

    Raises:
        TextError: the file cannot be read, or a record is none of these.
    """
    check_readable(path)
    found: list[Conversation] = []
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TextError(f"text {path}: cannot be read ({error}); give JSON lines") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found.append(_conversation(json.loads(line)))
        except (ValueError, RecursionError) as error:
            reason = "it is no JSON" if isinstance(error, json.JSONDecodeError) else str(error)
            raise TextError(
                f"text {path}: line {number} is no conversation ({reason or 'nested too deeply'}); "
                'write {"messages": [{"role": "user", "content": ...}, ...]}'
            ) from None
    if not found:
        raise TextError(f"text {path}: holds no conversation; give a file with some")
    return found


def encode_chat(
    tokenizer: PreTrainedTokenizerBase, conversations: Iterable[Conversation], source: str
) -> TokenStream:
    """Encode conversations by the tokenizer's template, one after the other.

    What the assistant says is scored, the end of its turn included; what it was asked is not.

    Args:
        tokenizer: with a chat template; one of the fast ones, which tell where tokens stand.
        conversations: what was said.
        source: what a person calls the text.

    Raises:
        TextError: there is no template, it refuses a conversation, or nothing is to be scored.
    """
    if not tokenizer.chat_template:
        raise TextError(
            f"--chat: the tokenizer of this model has no chat template, so {source} cannot be "
            "read as it was trained; leave out --chat and give plain text"
        )
    if not tokenizer.is_fast:
        raise TextError("--chat: needs a fast tokenizer, which tells where its tokens stand")
    tokens, scored = [], []
    for number, messages in enumerate(conversations, start=1):
        try:
            text, spans = _rendered(tokenizer, messages)
        except Exception as error:  # templates raise what their authors like
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise TextError(
                f"text {source}: the chat template refuses conversation {number} ({reason})"
            ) from None
        encoded = tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        places = np.array(encoded["offset_mapping"]).reshape(-1, 2)
        inside = np.zeros(len(places), dtype=bool)
        for first, last in spans:
            inside |= (places[:, 0] >= first) & (places[:, 1] <= last) & (places[:, 1] > first)
        tokens.append(np.array(encoded["input_ids"], dtype=np.int64))
        scored.append(inside)
    if not any(inside.any() for inside in scored):
        raise TextError(
            f"text {source}: no conversation has an answer of the role {_ANSWERS} that the "
            "template keeps, so nothing would be scored"
        )
    return TokenStream(np.concatenate(tokens), np.concatenate(scored))


def _rendered(
    tokenizer: PreTrainedTokenizerBase, messages: Conversation
) -> tuple[str, list[tuple[int, int]]]:
    """A conversation as text, and from where to where in it the assistant speaks.

    A template may leave out parts of earlier answers (what was thought, say): such are not scored.
    """

    def shown(count: int, asked: bool) -> str:
        text = tokenizer.apply_chat_template(
            [dict(message) for message in messages[:count]],
            tokenize=False,
            add_generation_prompt=asked,
        )
        assert isinstance(text, str)
        return text

    whole, spans = shown(len(messages), False), []
    for at, message in enumerate(messages):
        if message["role"] != _ANSWERS or at == 0:
            continue
        before, after = shown(at, True), shown(at + 1, False)
        if after.startswith(before) and whole.startswith(after):
            spans.append((len(before), len(after)))
    return whole, spans


def _conversation(record: Any) -> Conversation:
    if isinstance(record, dict) and {"prompt", "completion"} <= set(record):
        record = {
            "messages": [
                {"role": "user", "content": record["prompt"]},
                {"role": _ANSWERS, "content": record["completion"]},
            ]
        }
    messages = record.get("messages") if isinstance(record, dict) else None
    if not isinstance(messages, list) or not messages:
        raise ValueError("it has no list of messages, and no prompt with a completion")
    for message in messages:
        told = isinstance(message, dict) and [message.get("role"), message.get("content")]
        if not told or not all(isinstance(part, str) for part in told):
            raise ValueError("a message has no role and content that are text")
    return messages
