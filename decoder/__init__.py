"""A Hugging Face decoder as a game: players, masked evaluation, text, tasks, export, speed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decoder.checkpoint.inspect import (
        Footprint,
        checkpoint_fingerprint,
        footprint,
        resolve_dtype,
    )
    from decoder.data.chat import encode_chat, read_conversations
    from decoder.data.choices import (
        ChoiceItem,
        ChoiceTask,
        encode_choices,
        fitting_items,
        read_choices,
        split_items,
    )
    from decoder.data.text import (
        TokenStream,
        TokenText,
        cut_sequences,
        read_dataset,
        read_file,
        tokenise,
    )
    from decoder.data.workload import TEXT_METRICS, Metric, Workload
    from decoder.errors import ModelError, RepairError, TaskError, TextError, UnsupportedModel
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
    "RepairError",
    "Roster",
    "Slot",
    "Stack",
    "TaskError",
    "TextError",
    "TokenStream",
    "TokenText",
    "Unit",
    "UnsupportedModel",
    "Workload",
    "build_evaluator",
    "checkpoint_fingerprint",
    "count_layer_evaluations",
    "cut_sequences",
    "encode_chat",
    "encode_choices",
    "find_stack",
    "fitting_items",
    "footprint",
    "load_model",
    "load_tokenizer",
    "make_roster",
    "pick_device",
    "read_choices",
    "read_conversations",
    "read_dataset",
    "read_file",
    "resolve_dtype",
    "split_items",
    "tokenise",
]

# PyTorch and transformers take seconds to import: only whoever uses a name pays for them.
_HOMES = {
    "DTYPES": "model.loading",
    "EVALUATOR_VERSION": "evaluate.evaluator",
    "TEXT_METRICS": "data.workload",
    "ChoiceItem": "data.choices",
    "ChoiceTask": "data.choices",
    "Footprint": "checkpoint.inspect",
    "MaskedModel": "evaluate.evaluator",
    "MeasureOptions": "evaluate.worker",
    "Metric": "data.workload",
    "ModelError": "errors",
    "ModelSpec": "model.loading",
    "RepairError": "errors",
    "Roster": "players",
    "Slot": "players",
    "Stack": "model.structure",
    "TaskError": "errors",
    "TextError": "errors",
    "TokenStream": "data.text",
    "TokenText": "data.text",
    "Unit": "players",
    "UnsupportedModel": "errors",
    "Workload": "data.workload",
    "build_evaluator": "evaluate.worker",
    "checkpoint_fingerprint": "checkpoint.inspect",
    "count_layer_evaluations": "evaluate.walk",
    "cut_sequences": "data.text",
    "encode_chat": "data.chat",
    "encode_choices": "data.choices",
    "find_stack": "model.structure",
    "fitting_items": "data.choices",
    "footprint": "checkpoint.inspect",
    "load_model": "model.loading",
    "load_tokenizer": "model.loading",
    "make_roster": "players",
    "pick_device": "model.loading",
    "read_choices": "data.choices",
    "read_conversations": "data.chat",
    "read_dataset": "data.text",
    "read_file": "data.text",
    "resolve_dtype": "checkpoint.inspect",
    "split_items": "data.choices",
    "tokenise": "data.text",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return __all__
