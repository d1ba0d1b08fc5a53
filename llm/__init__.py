"""A Hugging Face decoder as a game: players, masked evaluation, text, export, speed."""

from __future__ import annotations

from llm.errors import ModelError, TextError, UnsupportedModel
from llm.evaluator import EVALUATOR_VERSION, MaskedModel, build_evaluator
from llm.head import METRICS
from llm.loading import DTYPES, ModelSpec, load_model, load_tokenizer, pick_device
from llm.structure import Stack, find_stack, layer_players
from llm.text import TokenText, cut_sequences, read_dataset, read_file, tokenise
from llm.walk import count_layer_evaluations

__all__ = [
    "DTYPES",
    "EVALUATOR_VERSION",
    "METRICS",
    "MaskedModel",
    "ModelError",
    "ModelSpec",
    "Stack",
    "TextError",
    "TokenText",
    "UnsupportedModel",
    "build_evaluator",
    "count_layer_evaluations",
    "cut_sequences",
    "find_stack",
    "layer_players",
    "load_model",
    "load_tokenizer",
    "pick_device",
    "read_dataset",
    "read_file",
    "tokenise",
]
