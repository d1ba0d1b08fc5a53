"""lm-evaluation-harness on a checkpoint, and beside another one item by item.

The model class, the tasks and the scores are the harness' own
(https://github.com/EleutherAI/lm-evaluation-harness); what is added are tasks from local files and
paired intervals of the differences.
"""

from __future__ import annotations

import contextlib
import difflib
import gc
import io
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from decoder.model.loading import ModelSpec, first_line, load_model, load_tokenizer
from layershap.errors import RunFailed, UserError
from layershap.harness.local_tasks import read_task
from layershap.harness.scores import Score, read_scores

__all__ = ["Evaluation", "evaluate_checkpoint"]

_INSTALL = "pip install 'layershap[evaluate]'"
_BOOTSTRAP = 1000  # resamples for standard errors of perplexities
_FILES = {".jsonl", ".json", ".ndjson", ".txt", ".md", ".text"}


@dataclass(frozen=True)
class Evaluation:
    """All scores of a checkpoint.

    Attributes:
        checkpoint, against: which models.
        harness: version of lm-evaluation-harness.
        limit: the most items of a task, None for all.
        scores: in the order of the tasks.
        left_out: by task, how many items are longer than the context.
    """

    checkpoint: str
    against: str | None
    harness: str
    limit: int | None
    scores: tuple[Score, ...]
    left_out: dict[str, int]


def evaluate_checkpoint(
    spec: ModelSpec,
    tasks: Sequence[str],
    *,
    against: ModelSpec | None = None,
    limit: int | None = None,
    batch_size: int | str = 8,
) -> Evaluation:
    """Score a checkpoint, and another one on the same items.

    Args:
        spec: the checkpoint.
        tasks: names of the harness' tasks, groups or tags (their data comes from the hub or its
            local copy), or local files (see `layershap.harness.local_tasks`).
        against: what to compare with, the dense model say.
        limit: the most items of each task, from its start.
        batch_size: sequences at a time, or "auto".

    Raises:
        UserError: the harness is not installed, or a task is unknown, unreadable or there twice.
        RunFailed: the harness cannot load a task's data, or fails.
        ModelError: a checkpoint cannot be loaded.
    """
    tasks = list(dict.fromkeys(tasks))
    local = [read_task(Path(task).expanduser()) for task in tasks if _is_file(task)]
    if len({task.name for task in local}) < len(local):
        raise UserError("--task: two files have the same name without their ending; rename one")
    harness, model_class, task_class = _harness()
    names = [task for task in tasks if not _is_file(task)]
    with _quiet():
        manager = import_module("lm_eval.tasks").TaskManager(include_defaults=bool(names))
        named = _named(manager, names)
    left_out: dict[str, int] = {}
    results: list[dict[str, Any]] = []
    own: list[Any] = []
    for each in [spec] if against is None else [spec, against]:
        model, tokenizer = load_model(each), load_tokenizer(each)
        with _quiet(), _failing(f"model {each.name}: lm-evaluation-harness failed"):
            wrapped = model_class(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)
            if not results:
                fitting = [task.fitting(tokenizer, wrapped.max_length) for task in local]
                for whole, part in zip(local, fitting, strict=True):
                    left_out[whole.name] = len(whole.items) - len(part.items)
                own = [task_class(config=task.config()) for task in fitting]
            results.append(
                harness.simple_evaluate(
                    wrapped,
                    tasks=[*named, *own],
                    task_manager=manager,
                    limit=limit,
                    bootstrap_iters=_BOOTSTRAP,
                )
            )
        del model, wrapped
        gc.collect()
    return Evaluation(
        spec.name,
        None if against is None else against.name,
        harness.__version__,
        limit,
        tuple(read_scores(*results)),
        {name: number for name, number in left_out.items() if number},
    )


def _is_file(task: str) -> bool:
    path = Path(task).expanduser()
    return path.is_file() or path.suffix in _FILES or "/" in task


def _harness() -> tuple[Any, Any, Any]:
    try:
        with _quiet():
            library = import_module("lm_eval")
            tasks = import_module("lm_eval.api.task")
            models = import_module("lm_eval.models.huggingface")
    except ImportError as error:
        raise UserError(
            f"evaluate: needs lm-evaluation-harness ({first_line(error)}); {_INSTALL}"
        ) from None
    return library, models.HFLM, tasks.ConfigurableTask


def _named(manager: Any, names: Sequence[str]) -> list[Any]:
    """The harness' own tasks and groups, their data loaded once for all models."""
    found: list[Any] = []
    for name in names:
        if name not in manager.all_tasks:
            near = difflib.get_close_matches(name, manager.all_tasks, n=3, cutoff=0.5)
            hint = f"; the nearest names are {', '.join(near)}" if near else ""
            raise UserError(
                f"--task {name}: neither a file nor a task of lm-evaluation-harness{hint}"
            )
        with _failing(f"--task {name}: its data cannot be loaded, which needs the hub"):
            loaded = manager.load(name)
        groups = loaded["groups"]
        found += [groups[name]] if name in groups else list(loaded["tasks"].values())
    return found


@contextlib.contextmanager
def _failing(what: str) -> Iterator[None]:
    """Errors of the harness, whatever their kind, as one line."""
    try:
        yield
    except (UserError, RunFailed):
        raise
    except Exception as error:  # datasets, the hub's client and torch raise kinds of their own
        raise RunFailed(f"{what} ({type(error).__name__}: {first_line(error)})") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps standard output for results, and progress bars for terminals."""
    bars = sys.stderr if sys.stderr.isatty() else io.StringIO()
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with (
            contextlib.redirect_stdout(bars),
            contextlib.redirect_stderr(bars),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
