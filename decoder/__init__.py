"""A Hugging Face decoder as a game: players, masked evaluation, text, tasks, export, speed."""

from __future__ import annotations

from decoder.checkpoint.inspect import Footprint, checkpoint_fingerprint, footprint, resolve_dtype
from decoder.data.choices import (
    ChoiceItem,
    ChoiceTask,
    encode_choices,
    fitting_items,
    read_choices,
    split_items,
)
from decoder.data.text import TokenText, cut_sequences, read_dataset, read_file, tokenise
from decoder.data.workload import TEXT_METRICS, Metric, Workload
from decoder.errors import ModelError, TaskError, TextError, UnsupportedModel
from decoder.evaluate.evaluator import EVALUATOR_VERSION, MaskedModel
from decoder.evaluate.walk import count_layer_evaluations
from decoder.evaluate.worker import MeasureOptions, build_evaluator
from decoder.model.loading import DTYPES, ModelSpec, load_model, load_tokenizer, pick_device
from decoder.model.structure import Stack, find_stack
from decoder.players import Roster, Slot, Unit, make_roster

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
