"""Whether a model can be measured at all: its tokens, its parts, its own logits, no look ahead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from decoder.data.workload import Workload
from decoder.errors import ModelError, TextError, UnsupportedModel
from decoder.evaluate.memory import is_out_of_memory
from decoder.model.lm_head import injected
from decoder.model.loading import first_line
from decoder.model.structure import Stack, context_length
from decoder.model.trace import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["check_tokens", "check_whole", "in_parts"]


def check_whole(
    model: PreTrainedModel, stack: Stack, trace: Trace, tokens_1T: Tensor, hidden_1TD: Tensor
) -> None:
    """Refuse a model whose measured whole is not its own, or that sees later tokens.

    Args:
        model: whole.
        stack: its layers.
        trace: of its own forward on the tokens.
        tokens_1T: what it read.
        hidden_1TD: what its layers, called one by one, make of them.

    Raises:
        UnsupportedModel: either.
    """
    kind = model.config.model_type
    with injected(model, stack, trace.returns) as lm_head:
        own_BTV = lm_head(tokens_1T, hidden_1TD).float()
    wanted_BTV = trace.logits_BTV.float()
    limit = 100 * torch.finfo(model.dtype).eps * float(wanted_BTV.abs().max())
    if own_BTV.shape != wanted_BTV.shape or not bool(((own_BTV - wanted_BTV).abs() <= limit).all()):
        raise UnsupportedModel(
            f"model type {kind}: its layers one by one, then its head, do not give its "
            "own logits; leaving layers out cannot be measured"
        )
    half = tokens_1T.shape[1] // 2
    other_1T = tokens_1T.clone()
    other_1T[:, half:] = tokens_1T[:, half:].flip(1).roll(1, 1)
    if half == 0 or torch.equal(other_1T, tokens_1T):
        return
    earlier_BTV = model(input_ids=other_1T, use_cache=False).logits[:, :half].float()
    seen = (earlier_BTV - wanted_BTV[:, :half]).abs()
    if bool((seen > 10 * limit + 1e-3 * float(wanted_BTV.abs().max())).any()):
        raise UnsupportedModel(
            f"model type {kind}: looks ahead, a later token changes what it says of "
            "earlier ones, so its losses mean nothing; give a decoder (for BERT and its kin, "
            'set "is_decoder": true in config.json if it was trained as one)'
        )


@contextmanager
def in_parts(kind: str) -> Iterator[None]:
    """Say in one line what stock code raises when it is called in parts; memory is another matter.

    Args:
        kind: model type.
    """
    try:
        yield
    except (ModelError, TextError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise UnsupportedModel(
            f"model type {kind}: its layers cannot be called one by one ({type(error).__name__}: "
            f"{first_line(error)}); leaving layers out cannot be measured"
        ) from error


def check_tokens(model: PreTrainedModel, workload: Workload) -> None:
    """Refuse rows that the model cannot read.

    Raises:
        TextError: longer than the model's context, or ids outside its vocabulary.
    """
    text = model.config.get_text_config(decoder=True)
    context = context_length(text)
    if context is not None and workload.longest > context:
        raise TextError(
            f"--sequence-length {workload.longest}: longer than the model's context of {context} "
            "tokens; choose a shorter one"
        )
    rows = [] if workload.text is None else [workload.text.tokens]
    for ids in (*rows, *(row for task in workload.tasks for row in task.rows)):
        wrong = ids[(ids < 0) | (ids >= text.vocab_size)]
        if len(wrong):
            raise TextError(
                f"token id {int(wrong[0])}: outside the model's vocabulary of {text.vocab_size}; "
                "the tokenizer is another model's"
            )
