"""A language model as a game: many coalitions of its layers measured in one call."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from llm.errors import ModelError, TextError, UnsupportedModel
from llm.head import METRICS, Head, LinearHead, LogitsHead, linear_head
from llm.loading import ModelSpec, load_model
from llm.structure import find_stack, layer_players
from llm.trace import LayerCall, Trace, injected, record
from llm.walk import kept_lists, walk

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

__all__ = ["EVALUATOR_VERSION", "MaskedModel", "build_evaluator"]

EVALUATOR_VERSION = 1
"""Goes up when measured numbers may change: old and new measurements are never mixed."""

_TOKENS_A_BATCH = {"cpu": 2048, "cuda": 16384}
_MOST_LOGITS = 2**27  # half a GiB of float32


class MaskedModel:
    """A causal language model whose layers can be left out; skipped layers are really skipped.

    Args:
        model: the model, in evaluation mode on its device.
        tokens: Int[S, T] sequences to measure on.
        tokens_a_batch: tokens that go through a layer at once; default by device.

    Attributes:
        players: one name a layer, in depth order.
        layer_evaluations: layer calls made so far, one a batch of sequences.

    Raises:
        ModelError: the dense model's own logits are not numbers.
        TextError: sequences longer than the model's context, or ids outside its vocabulary.
        UnsupportedModel: its layers cannot be found, or the walk does not give its own results.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokens: Int[np.ndarray, "S T"],
        *,
        tokens_a_batch: int | None = None,
    ) -> None:
        self.stack = find_stack(model)
        self.players = layer_players(self.stack)
        self.model = model
        self.layer_evaluations = 0
        _check_tokens(model, tokens)
        rows = max(1, (tokens_a_batch or _usual_batch(model)) // tokens.shape[1])
        with torch.inference_mode():
            self._batches = [
                self._prepare(torch.tensor(tokens[i : i + rows], device=model.device).long())
                for i in range(0, len(tokens), rows)
            ]

    @property
    def batches(self) -> int:
        """Batches of sequences; each is walked on its own."""
        return len(self._batches)

    def measure(
        self, coalitions: Bool[np.ndarray, "B n"]
    ) -> Mapping[str, Float[np.ndarray, "B S"]]:
        """Metrics of each coalition and sequence: means over a sequence's predicted tokens.

        Args:
            coalitions: rows of kept layers (True = kept), in any order.

        Returns:
            "nll" and "kl" (to the dense model) in nats per token, and "top1", the share of tokens
            whose most likely next token is the dense model's; float32[B, S], NaN where the model's
            numbers overflow.

        Raises:
            ValueError: the coalitions are not boolean rows of one column a player.
        """
        coalitions = np.asarray(coalitions)
        n = len(self.players)
        if coalitions.dtype != bool or coalitions.ndim != 2 or coalitions.shape[1] != n:
            raise ValueError(
                f"coalitions must be a boolean array [B, {n}], got {coalitions.dtype} "
                f"{list(coalitions.shape)}; pass one row a coalition, True = kept"
            )
        lists = kept_lists(coalitions)
        order = sorted(range(len(lists)), key=lists.__getitem__)
        columns = []
        with torch.inference_mode():
            for start, calls, head in self._batches:
                states = walk([lists[i] for i in order], start, partial(self._step, calls))
                shape = (len(METRICS), len(lists), len(start))
                scores = torch.empty(shape, dtype=torch.float64, device=start.device)
                for row, state in enumerate(states):
                    scores[:, row] = head(state)
                columns.append(scores.cpu().numpy())
        result = np.empty((len(METRICS), len(lists), sum(c.shape[2] for c in columns)), np.float32)
        result[:, order] = np.concatenate(columns, axis=2)
        return dict(zip(METRICS, result, strict=True))

    def _step(self, calls: tuple[LayerCall, ...], layer: int, hidden_BTD: Tensor) -> Tensor:
        self.layer_evaluations += 1
        return calls[layer](hidden_BTD)

    def _prepare(self, tokens_BT: Tensor) -> tuple[Tensor, tuple[LayerCall, ...], Head]:
        trace = record(self.model, self.stack, tokens_BT)
        if trace.logits_BTV.isnan().any():
            raise ModelError(
                f"model type {self.model.config.model_type}: the whole model's logits are not "
                f"numbers in {self.model.dtype}; check the checkpoint or choose another --dtype"
            )
        return trace.inputs[0], trace.calls, self._head(trace)

    def _head(self, trace: Trace) -> Head:
        linear = linear_head(trace)
        if linear is not None:
            return LinearHead(linear, trace)

        def logits(tokens_BT: Tensor, hidden_BTD: Tensor) -> Tensor:
            with injected(self.model, self.stack, trace.returns_tuple) as run:
                return run(tokens_BT, hidden_BTD)

        own = logits(trace.tokens_BT[:1], trace.inputs[-1][:1])
        if not torch.allclose(own, trace.logits_BTV[:1], rtol=1e-3, atol=1e-3):
            raise UnsupportedModel(
                f"model type {self.model.config.model_type}: its logits depend on more than its "
                "last layer's output; leaving layers out cannot be measured"
            )
        return LogitsHead(logits, trace)


def build_evaluator(spec: ModelSpec, tokens: Int[np.ndarray, "S T"]) -> MaskedModel:
    """Load a model and make it measurable: what every worker does once."""
    return MaskedModel(load_model(spec), tokens)


def _usual_batch(model: PreTrainedModel) -> int:
    """Tokens a batch by device, fewer where the dense pass would make too many logits at once."""
    usual = _TOKENS_A_BATCH.get(model.device.type, 2048)
    return min(usual, _MOST_LOGITS // model.config.get_text_config(decoder=True).vocab_size)


def _check_tokens(model: PreTrainedModel, tokens: Int[np.ndarray, "S T"]) -> None:
    text = model.config.get_text_config(decoder=True)
    context = getattr(text, "max_position_embeddings", None)
    if tokens.ndim != 2 or tokens.shape[1] < 2 or len(tokens) < 1:
        raise TextError(f"tokens of shape {tokens.shape}: needs sequences of at least 2 tokens")
    if context is not None and tokens.shape[1] > context:
        raise TextError(
            f"--sequence-length {tokens.shape[1]}: longer than the model's context of {context} "
            "tokens; choose a shorter one"
        )
    wrong = tokens[(tokens < 0) | (tokens >= text.vocab_size)]
    if len(wrong):
        raise TextError(
            f"token id {int(wrong[0])}: outside the model's vocabulary of {text.vocab_size}; "
            "the tokenizer is another model's"
        )
