"""Loading any Hugging Face causal language model and its tokenizer."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decoder.errors import ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "DTYPES",
    "ModelSpec",
    "check_dtype",
    "first_line",
    "load_config",
    "load_model",
    "load_tokenizer",
    "pick_device",
    "refuse_missing",
    "stored_dtype",
]

DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class ModelSpec:
    """Which model to load and how; small and picklable, so that every worker can load its own.

    Attributes:
        name: directory or hub id.
        dtype: one of `DTYPES`; "auto" is float32 on a CPU and the checkpoint's own on a GPU.
        device: "auto" (first GPU of the process, else CPU), "cpu", "cuda", "cuda:1", ...
        trust_remote_code: run code from the model's repository. Never unless the user says so.
        revision: hub revision.
        tokenizer: directory or hub id of its tokenizer; None where it lies beside the weights.
    """

    name: str
    dtype: str = "auto"
    device: str = "auto"
    trust_remote_code: bool = False
    revision: str | None = None
    tokenizer: str | None = None


def pick_device(wanted: str) -> torch.device:
    """The torch device for `wanted`; "auto" takes a GPU where the process has one.

    Raises:
        ModelError: the device is unknown or not there.
    """
    import torch

    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            device = torch.device(wanted)
            there = torch.cuda.device_count() if device.type == "cuda" else 0
            if there and (device.index or 0) >= there:
                raise ModelError(
                    f"--device {wanted}: there are {there} GPUs here, numbered from 0; "
                    f"choose {', '.join(f'cuda:{i}' for i in range(min(there, 8)))} or cpu"
                )
            torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = first_line(error).partition(". ")[0]
        raise ModelError(
            f"--device {wanted}: not usable here ({reason}); choose cpu, or cuda where one is"
        ) from None
    return device


def load_model(spec: ModelSpec, *, strict: bool = False) -> PreTrainedModel:
    """The model in evaluation mode on its device.

    Args:
        spec: which model.
        strict: whether stored weights that the model has no use for are refused as well.

    Raises:
        ModelError: there is no such model, it is not a causal language model, or it cannot be read.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    config = load_config(spec)
    device = pick_device(spec.device)
    check_dtype(spec)
    dtype: Any = spec.dtype
    if dtype == "auto":
        dtype = torch.float32 if device.type == "cpu" else "auto"
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                spec.name,
                config=config,
                dtype=dtype,
                trust_remote_code=spec.trust_remote_code,
                revision=spec.revision,
                output_loading_info=True,
            )
    except Exception as error:  # safetensors, pickle and torch raise kinds of their own
        raise ModelError(
            f"model {spec.name}: the checkpoint cannot be loaded ({first_line(error)}); "
            "save or download it again"
        ) from None
    model, report = loaded
    refuse_missing(spec, report.get("missing_keys", ()))
    unused = sorted(report.get("unexpected_keys", ()))
    if strict and unused:
        raise ModelError(
            f"model {spec.name}: {len(unused)} stored weights are not used by the model (first: "
            f"{unused[0]}); the weights and config.json do not belong together"
        )
    return model.eval().requires_grad_(False).to(device)


def load_tokenizer(spec: ModelSpec) -> PreTrainedTokenizerBase:
    """The model's tokenizer.

    Raises:
        ModelError: there is none beside the model, or not where the specification says.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            spec.tokenizer or spec.name,
            trust_remote_code=spec.trust_remote_code,
            revision=None if spec.tokenizer else spec.revision,
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        if spec.tokenizer:
            raise ModelError(
                f"--tokenizer {spec.tokenizer}: no usable tokenizer there ({first_line(error)}); "
                "name the directory or the hub id of one"
            ) from None
        raise ModelError(
            f"model {spec.name}: no usable tokenizer beside the weights ({first_line(error)}); "
            "save one there with tokenizer.save_pretrained, or name one with --tokenizer"
        ) from None


def stored_dtype(spec: ModelSpec) -> torch.dtype | None:
    """The precision that the checkpoint's configuration names, None where it names none."""
    return getattr(load_config(spec), "dtype", None)


def check_dtype(spec: ModelSpec) -> None:
    """Refuse a `dtype` that is none of `DTYPES`.

    Raises:
        ModelError: it is not.
    """
    if spec.dtype not in DTYPES:
        raise ModelError(f"--dtype {spec.dtype}: unknown; choose one of {', '.join(DTYPES)}")


def refuse_missing(spec: ModelSpec, names: Iterable[str]) -> None:
    """Refuse a checkpoint that lacks weights.

    Raises:
        ModelError: there are such names.
    """
    missing = sorted(names)
    if missing:
        raise ModelError(
            f"model {spec.name}: {len(missing)} weights are not in the checkpoint "
            f"(first: {missing[0]}); a model with random weights has no layers worth measuring"
        )


def load_config(spec: ModelSpec) -> Any:
    """The configuration of a causal language model, from its directory or the hub.

    Raises:
        ModelError: there is none, or it is another kind of model's.
    """
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    looks_local = spec.name.startswith(("/", ".", "~")) or Path(spec.name).exists()
    if looks_local:
        _refuse_other_files(spec)
    if looks_local and not Path(spec.name).is_dir():
        raise ModelError(
            f"model {spec.name}: no such directory; give a Hugging Face checkpoint directory "
            "(with config.json) or a hub id such as Qwen/Qwen3-0.6B"
        )
    if looks_local and not (Path(spec.name) / "config.json").is_file():
        raise ModelError(
            f"model {spec.name}: no config.json in this directory; "
            "give a checkpoint written by save_pretrained"
        )
    try:
        config = AutoConfig.from_pretrained(
            spec.name, trust_remote_code=spec.trust_remote_code, revision=spec.revision
        )
    except Exception as error:  # the hub client raises its own many kinds, none worth a traceback
        raise ModelError(
            f"model {spec.name}: no checkpoint directory, and no hub model that can be reached "
            f"({first_line(error)})"
        ) from None
    remote = spec.trust_remote_code and "AutoModelForCausalLM" in getattr(config, "auto_map", {})
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING and not remote:
        raise ModelError(
            f"model {spec.name}: a {config.model_type} model is not a causal language model; "
            "give one that AutoModelForCausalLM loads"
        )
    return config


def _refuse_other_files(spec: ModelSpec) -> None:
    """Name what people bring that is no checkpoint directory, with what makes one of it."""
    path = Path(spec.name)
    whole = (path / "config.json").is_file()
    files = [path] if path.is_file() else [*path.glob("*")] if path.is_dir() else []
    names = sorted(file.name for file in files)
    if not whole and (path / "adapter_config.json").is_file():
        rule = "a PEFT adapter (LoRA, say), not a whole model; merge it into its base model with"
        raise ModelError(f"model {path}: {rule} merge_and_unload and save_pretrained")
    if not whole and any(name.endswith(".gguf") for name in names):
        rule = "a GGUF, which is not read; give the checkpoint directory that it was made from"
        raise ModelError(f"model {path}: {rule}")
    if path.is_file():
        raise ModelError(
            f"model {path}: a file; give the directory that holds it together with config.json"
        )
    if path.is_dir() and not names:
        raise ModelError(f"model {path}: an empty directory; give one written by save_pretrained")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, to be put into one of ours."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
