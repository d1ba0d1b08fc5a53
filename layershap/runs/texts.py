"""From the configuration's texts to token sequences: to search on and to verify on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from decoder import (
    ChoiceTask,
    TextError,
    TokenStream,
    TokenText,
    cut_sequences,
    encode_chat,
    encode_choices,
    fitting_items,
    read_choices,
    read_conversations,
    read_dataset,
    read_file,
    split_items,
    tokenise,
)
from layershap.demo.corpus import Split, split_text
from layershap.errors import UserError
from layershap.runs.config import RunConfig
from layershap.runs.text_checks import foreign_text, shared_text, unknown_tokens
from layershap.runs.utilities import parse_utilities

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["TextPart", "Texts", "load_fitting_text", "load_texts"]

_USUAL_LENGTH = 256
REPAIRED_TEXT = 2
"""Times the calibration text that repaired sets are measured on: they are few, and compared."""
_NO_LIMIT = 10**9


@dataclass(frozen=True)
class TextPart:
    """The sequences of a text that came from one source.

    Attributes:
        name: what a person calls the source.
        first: its first sequence.
        stop: the sequence after its last.
    """

    name: str
    first: int
    stop: int


@dataclass(frozen=True)
class Texts:
    """The two texts of a run, its tasks, and what a person should know about them.

    Attributes:
        calibration: what the search sees.
        heldout: what it does not see.
        calibration_tasks: items that the search sees.
        heldout_tasks: other items of the same tasks.
        warnings: a sentence each.
        alarms: why the numbers may not be about what a person thinks, a sentence each.
        heldout_parts: the held-out text's sources, in the order of its sequences.
    """

    calibration: TokenText
    heldout: TokenText
    calibration_tasks: tuple[ChoiceTask, ...]
    heldout_tasks: tuple[ChoiceTask, ...]
    warnings: tuple[str, ...]
    heldout_parts: tuple[TextPart, ...]
    alarms: tuple[str, ...] = ()


def load_texts(config: RunConfig, tokenizer: PreTrainedTokenizerBase, model_config: Any) -> Texts:
    """Tokenise the calibration and the held-out text and tasks.

    Without a held-out text, the last part of the calibration text is kept away from the search;
    of a task's items, random ones are. Several held-out sources share the sequences equally, as far
    as each is long enough, and no sequence holds text of two of them.

    Raises:
        TaskError: a task's file is missing or wrong.
        TextError: a text is missing, unreadable or too short.
        UserError: the sequence length does not fit the model, or the held-out text stands in the
            calibration text.
    """
    length = _length(config, model_config)
    bos = _bos(tokenizer)

    def cut(stream: TokenStream, source: str, sequences: int) -> TokenText:
        return cut_sequences(stream, sequences=sequences, length=length, source=source, bos=bos)

    calibration, source, rest = _search_stream(config, tokenizer, length - (bos is not None))
    if config.text.heldout:
        chat = config.text.chat
        sources = [_stream((one,), "heldout", tokenizer, chat)[0] for one in config.text.heldout]
        heldout = list(zip(sources, _names(config.text.heldout), strict=True))
    elif rest is None:
        heldout = [_stream((), "heldout", tokenizer, False)]
    else:
        heldout = [(rest, f"{source} (last part)")]
    available = [len(stream) // (length - (bos is not None)) for stream, _ in heldout]
    shares = _shares(config.text.heldout_sequences, available)
    parts = [cut(*one, share) for one, share in zip(heldout, shares, strict=True)]
    texts = (cut(calibration, source, config.text.sequences), _joined(parts))
    wanted = (config.text.sequences, config.text.heldout_sequences)
    warnings = [
        f"The {kind} text gave {len(text.tokens)} of {count} sequences of {length} tokens."
        for kind, text, count in zip(("calibration", "held-out"), texts, wanted, strict=True)
        if len(text.tokens) < count
    ]
    calibration_tasks, heldout_tasks, dropped = _tasks(config, tokenizer, model_config)
    warnings += dropped
    alarms = foreign_text(config)
    for text in texts:
        alarms += unknown_tokens(tokenizer, text.tokens, text.source)
    seen = texts[1].tokens[:, int(bos is not None) :].ravel()
    alarms += shared_text(config, seen, calibration.tokens, texts[1].source)
    return Texts(
        *texts, calibration_tasks, heldout_tasks, tuple(warnings), _places(parts), tuple(alarms)
    )


def load_fitting_text(
    config: RunConfig,
    tokenizer: PreTrainedTokenizerBase,
    model_config: Any,
    tokens: int,
    source: str | None = None,
    *,
    apart: bool = False,
) -> TokenText:
    """Tokenise text to fit weights on, usually more of the calibration text than the search sees.

    Args:
        config: of the run.
        tokenizer: of the model.
        model_config: of its decoder.
        tokens: at most so many, and at least a sequence.
        source: a file or data set; what of the calibration text is not held out when omitted.
        apart: only of the calibration text beyond what the search measures on, repaired sets
            included.

    Raises:
        TextError: the text is missing, unreadable or too short.
    """
    length, bos = _length(config, model_config), _bos(tokenizer)
    if source is None:
        body = length - (bos is not None)
        stream, name, _ = _search_stream(config, tokenizer, body)
        used = REPAIRED_TEXT * config.text.sequences * body
        stream = stream[used:] if apart else stream
    else:
        stream, name = _stream((source,), "calibration", tokenizer, config.text.chat)
    sequences = max(1, tokens // length)
    return cut_sequences(stream, sequences=sequences, length=length, source=name, bos=bos)


def _search_stream(
    config: RunConfig, tokenizer: PreTrainedTokenizerBase, body: int
) -> tuple[TokenStream, str, TokenStream | None]:
    """The calibration text without what is held out of it, its source, and what is held out."""
    text = config.text
    if text.chat and not text.calibration:
        raise UserError("--chat: tells how --calibration is read; give --calibration FILE")
    stream, source = _stream(text.calibration, "calibration", tokenizer, text.chat)
    if config.text.heldout or not config.text.calibration:
        return stream, source, None
    at = _split(stream, config, body, source)
    return stream[:at], source, stream[at:]


def _tasks(
    config: RunConfig, tokenizer: PreTrainedTokenizerBase, model_config: Any
) -> tuple[tuple[ChoiceTask, ...], tuple[ChoiceTask, ...], tuple[str, ...]]:
    """The tasks to search on, other items of them to verify on, and warnings."""
    context = _context(model_config)
    found: tuple[list[ChoiceTask], list[ChoiceTask]] = ([], [])
    dropped = []
    for utility in parse_utilities(config.utilities):
        if utility.file is None:
            continue
        name = utility.metric.removesuffix(".margin")
        whole = read_choices(utility.file)
        items = fitting_items(whole, tokenizer, context=context)
        if len(items) < len(whole):
            dropped.append(
                f"{len(whole) - len(items)} of {len(whole)} items of {utility.file} are left out: "
                f"a choice is longer than the model's context of {context} tokens."
            )
        parts = split_items(
            items, config.measure.items, config.measure.heldout_items, config.measure.seed
        )
        for tasks, part in zip(found, parts, strict=True):
            tasks.append(
                encode_choices(part, tokenizer, name=name, source=utility.file, context=context)
            )
    return tuple(found[0]), tuple(found[1]), tuple(dropped)


def _stream(
    sources: Sequence[str], split: Split, tokenizer: PreTrainedTokenizerBase, chat: bool
) -> tuple[TokenStream, str]:
    if not sources:
        kind = "held-out" if split == "heldout" else split
        tokens = tokenise(tokenizer, split_text(split))
        return TokenStream(tokens), f"Python library, {kind} files"
    if chat:
        said = [one for source in sources for one in read_conversations(source)]
        name = ", ".join(_short(source) for source in sources)
        return encode_chat(tokenizer, said, name), name
    texts = [t for s in sources for t in (read_dataset(s[3:]) if s[:3] == "hf:" else read_file(s))]
    return TokenStream(tokenise(tokenizer, texts)), ", ".join(map(_short, sources))


def _short(source: str) -> str:
    return source.rstrip("/").split("/")[-1]


def _names(sources: Sequence[str]) -> list[str]:
    """Short names of sources, whole ones where two would be called the same.

    Raises:
        UserError: a source is given twice.
    """
    short = [_short(source) for source in sources]
    for source in sources:
        if sources.count(source) > 1:
            raise UserError(f"--heldout {source}: is given twice; name each text once")
    return [
        name if short.count(name) == 1 else source
        for name, source in zip(short, sources, strict=True)
    ]


def _shares(wanted: int, available: Sequence[int]) -> list[int]:
    """How many sequences each source gives: equal shares, what one lacks from the others.

    Every source gives at least one, so that none goes unseen.
    """
    shares = [0] * len(available)
    while sum(shares) < wanted and any(s < a for s, a in zip(shares, available, strict=True)):
        poorest = min(
            (s, place) for place, (s, a) in enumerate(zip(shares, available, strict=True)) if s < a
        )
        shares[poorest[1]] += 1
    return [max(1, share) for share in shares]


def _joined(parts: Sequence[TokenText]) -> TokenText:
    if len(parts) == 1:
        return parts[0]
    tokens = np.concatenate([part.tokens for part in parts])
    masks = [part.scored for part in parts if part.scored is not None]
    scored = np.concatenate(masks) if masks else None  # --chat reads all of them, or none
    return TokenText(tokens, ", ".join(part.source for part in parts), scored)


def _places(parts: Sequence[TokenText]) -> tuple[TextPart, ...]:
    ends = np.cumsum([len(part.tokens) for part in parts]).tolist()
    starts = [0, *ends[:-1]]
    return tuple(TextPart(p.source, *at) for p, *at in zip(parts, starts, ends, strict=True))


def _split(stream: TokenStream, config: RunConfig, body: int, source: str) -> int:
    available = len(stream) // body
    if available < 2:
        raise TextError(
            f"text {source}: {len(stream)} tokens are not two sequences of {body} (one to search "
            "on, one to verify on); give a longer text, --heldout FILE or a smaller "
            "--sequence-length"
        )
    share = config.text.sequences / (config.text.sequences + config.text.heldout_sequences)
    return body * min(max(round(available * share), 1), available - 1)


def _length(config: RunConfig, model_config: Any) -> int:
    context = _context(model_config)
    length = config.text.sequence_length or min(_USUAL_LENGTH, context)
    if length > context:
        raise UserError(
            f"--sequence-length {length}: longer than the model's context of {context} tokens; "
            "choose a shorter one"
        )
    return length


def _context(model_config: Any) -> int:
    return getattr(model_config, "max_position_embeddings", None) or _NO_LIMIT


def _bos(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The id that the tokenizer itself puts first, for models that need it (Gemma)."""
    bos: Any = tokenizer.bos_token_id
    ids: Any = tokenizer("a")["input_ids"]
    return bos if bos is not None and len(ids) > 1 and ids[0] == bos else None
