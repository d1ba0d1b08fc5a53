"""A Hugging Face decoder as a game: players, masked evaluation, text, tasks, export, speed."""

from __future__ import annotations

from llm.checkpoint import Footprint, checkpoint_fingerprint, footprint, resolve_dtype
from llm.choices import (
    ChoiceItem,
    ChoiceTask,
    encode_choices,
    fitting_items,
    read_choices,
    split_items,
)
from llm.errors import ModelError, TaskError, TextError, UnsupportedModel
from llm.evaluator import EVALUATOR_VERSION, MaskedModel
from llm.loading import DTYPES, ModelSpec, load_model, load_tokenizer, pick_device
from llm.measuring import MeasureOptions, build_evaluator
from llm.players import Roster, Slot, Unit, make_roster
from llm.structure import Stack, find_stack
from llm.text import TokenText, cut_sequences, read_dataset, read_file, tokenise
from llm.walk import count_layer_evaluations
from llm.workload import TEXT_METRICS, Metric, Workload

__all__ = [
    "DTYPES",
    "EVALUATOR_VERSION",
    "TEXT_METRICS",
    "ChoiceItem",
    "ChoiceTask",
    "Footprint",
    "MaskedModel",
    "MeasureOptions",
    "Metric",
    "ModelError",
    "ModelSpec",
    "Roster",
    "Slot",
    "Stack",
    "TaskError",
    "TextError",
    "TokenText",
    "Unit",
    "UnsupportedModel",
    "Workload",
    "build_evaluator",
    "checkpoint_fingerprint",
    "count_layer_evaluations",
    "cut_sequences",
    "encode_choices",
    "find_stack",
    "fitting_items",
    "footprint",
    "load_model",
    "load_tokenizer",
    "make_roster",
    "pick_device",
    "read_choices",
    "read_dataset",
    "read_file",
    "resolve_dtype",
    "split_items",
    "tokenise",
]
