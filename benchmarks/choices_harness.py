"""Multiple-choice scores beside those that lm-evaluation-harness gives the same model and items.

    python -m benchmarks.choices_harness TASK.jsonl ... --harness PYTHON --json FILE [--items N]

PYTHON is an interpreter with `lm_eval[hf]` installed, such as one of
`python3 -m venv harness && harness/bin/pip install "lm_eval[hf]"`; it runs the harness' own model
class and its own multiple-choice task on the same checkpoint and files. Without --harness only the
scores of this package are shown. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, PretrainedConfig

from benchmarks.support.report_bars import Bar, write
from decoder import (
    MaskedModel,
    ModelSpec,
    Workload,
    encode_choices,
    fitting_items,
    load_model,
    load_tokenizer,
    read_choices,
)
from layershap.demo import MODEL_DIRECTORY

_TOLERANCE = 1e-3  # nats, of a whole choice

# Runs in the harness' interpreter, which has nothing of this package.
_HARNESS = """
import json, sys

answer, sys.stdout = sys.stdout, sys.stderr
import lm_eval
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM

order = json.load(sys.stdin)
model = HFLM(
    pretrained=order["model"], device="cpu", dtype="float32", batch_size=order["batch"],
    add_bos_token=order["bos"],
)
tasks = [
    ConfigurableTask(config={
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": path}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "query",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "num_fewshot": 0,
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True}
            for metric in ("acc", "acc_norm")
        ],
    })
    for name, path in order["files"].items()
]
found = lm_eval.simple_evaluate(model, tasks=tasks, bootstrap_iters=0)
scores = {}
for name in order["files"]:
    samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
    scores[name] = {
        "loglik": [float(choice[0]) for s in samples for choice in s["filtered_resps"]],
        "acc": found["results"][name]["acc,none"],
        "acc_norm": found["results"][name]["acc_norm,none"],
    }
json.dump({"version": lm_eval.__version__, "scores": scores}, answer)
"""

Scores = dict[str, dict[str, Any]]


def main() -> None:
    """Runs the benchmark."""
    options = _options()
    try:
        with tempfile.TemporaryDirectory() as folder:
            files, dropped = _fitting(options, Path(folder))
            own = ours(options.model, files, bos=options.bos)
            theirs, version = None, None
            if options.harness is not None:
                theirs, version = harness(options.harness, options.model, files, bos=options.bos)
    except ValueError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    _print(own, theirs, dropped)
    bars = [] if theirs is None else [bar for name in own for bar in _bars(name, own, theirs)]
    write(
        options.json,
        bars,
        model=str(options.model),
        items=options.items,
        dropped=dropped,
        bos=options.bos,
        harness_version=version,
        ours=own,
        harness=theirs,
    )


def ours(model_dir: Path, files: dict[str, Path], *, bos: bool | None = None) -> Scores:
    """Scores of this package: as `decoder.MaskedModel` measures the whole model, float32.

    Args:
        model_dir: checkpoint directory.
        files: task files by name.
        bos: see `decoder.data.choices.encode_choices`.

    Returns:
        By task: "loglik", one a choice in the order of the file, "acc", "acc_norm", "margin".
    """
    spec = ModelSpec(str(model_dir), dtype="float32", device="cpu")
    model, tokenizer = load_model(spec), load_tokenizer(spec)
    scores: Scores = {}
    for name, path in files.items():
        task = encode_choices(
            read_choices(str(path)),
            tokenizer,
            name=name,
            source=str(path),
            context=_context(model.config),
            bos=bos,
        )
        masked = MaskedModel(model, Workload(None, (task,)))
        whole = np.ones((1, len(masked.players)), dtype=bool)
        loglik = masked.log_likelihoods(whole)[name][0].tolist()
        found = masked.measure(whole)
        means = [float(found[metric].mean(dtype=np.float64)) for metric in task.metrics]
        scores[name] = {
            "loglik": loglik,
            **dict(zip(("acc", "acc_norm", "margin"), means, strict=True)),
        }
    return scores


def harness(
    python: Path,
    model_dir: Path,
    files: dict[str, Path],
    *,
    bos: bool | None = None,
) -> tuple[Scores, str]:
    """The harness' scores in the form of `ours`, and its version.

    Raises:
        ValueError: the interpreter cannot be run, or the harness fails in it.
    """
    order = {
        "model": str(model_dir.resolve()),
        "files": {name: str(path.resolve()) for name, path in files.items()},
        "bos": bos,
        "batch": 8,
    }
    with tempfile.TemporaryDirectory() as caches:
        offline = dict.fromkeys(
            ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE"), "1"
        )
        environment = {
            **os.environ,
            **offline,
            "HF_HOME": caches,
            "TOKENIZERS_PARALLELISM": "false",
            "OMP_NUM_THREADS": str(torch.get_num_threads()),
        }
        try:
            done = subprocess.run(
                [str(python), "-c", _HARNESS],
                input=json.dumps(order),
                capture_output=True,
                text=True,
                cwd=caches,
                env=environment,
            )
        except OSError as error:
            raise ValueError(f"--harness {python}: cannot be run ({error.strerror})") from None
    if done.returncode:
        reasons = re.findall(r"^[\w.]*(?:Error|Exception)\b.*", done.stderr, re.MULTILINE)
        raise ValueError(
            f"--harness {python}: failed ({reasons[-1] if reasons else 'no message'}); "
            "it needs pip install 'lm_eval[hf]'"
        )
    found = json.loads(done.stdout)
    return found["scores"], found["version"]


def _fitting(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Path], dict[str, int]]:
    """The items that fit into the context, as files by name, and how many do not.

    The harness fails on a choice that is longer than the context. Lines stay as they are, so that
    both sides read them on their own.
    """
    spec = ModelSpec(str(options.model), device="cpu")
    tokenizer, config = load_tokenizer(spec), AutoConfig.from_pretrained(spec.name)
    files, dropped = {}, {}
    for path in options.tasks:
        items = read_choices(str(path))
        lines = [line for line in path.read_bytes().split(b"\n") if line.strip()]
        rows = list(zip(lines, items, strict=True))[: options.items]
        fitting = set(
            fitting_items(
                [item for _, item in rows], tokenizer, context=_context(config), bos=options.bos
            )
        )
        kept = [line for line, item in rows if item in fitting]
        if path.stem in files:
            raise ValueError(f"TASK {path}: another file has the same name; rename one")
        files[path.stem] = folder / f"{path.stem}.jsonl"
        files[path.stem].write_bytes(b"\n".join(kept))
        dropped[path.stem] = len(rows) - len(kept)
    return files, dropped


def _context(config: PretrainedConfig) -> int:
    return config.get_text_config(decoder=True).max_position_embeddings


def _bars(name: str, own: Scores, theirs: Scores) -> list[Bar]:
    a, b = own[name], theirs[name]
    same_rows = len(a["loglik"]) == len(b["loglik"])
    difference = float("inf")
    if same_rows:
        difference = float(np.abs(np.subtract(a["loglik"], b["loglik"])).max())
    accuracies = [
        Bar(
            f"{name}: {metric} as the harness has it",
            f"{a[metric]:.4f}",
            f"{b[metric]:.4f}",
            abs(a[metric] - b[metric]) < 1e-9,
        )
        for metric in ("acc", "acc_norm")
    ]
    largest = Bar(
        f"{name}: largest difference of {len(a['loglik']):,} log-likelihoods, nats",
        f"{difference:.2g}",
        f"at most {_TOLERANCE:g}",
        difference <= _TOLERANCE,
    )
    return [*accuracies, largest]


def _print(own: Scores, theirs: Scores | None, dropped: dict[str, int]) -> None:
    for name, scores in own.items():
        line = f"{name:<16} ours acc {scores['acc']:.4f}, acc_norm {scores['acc_norm']:.4f}, "
        line += f"margin {scores['margin']:+.4f} nats"
        if theirs is not None:
            line += f"; harness acc {theirs[name]['acc']:.4f}, "
            line += f"acc_norm {theirs[name]['acc_norm']:.4f}"
        if dropped[name]:
            line += f"; {dropped[name]} items longer than the context left out"
        print(line)


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", type=Path, nargs="+", metavar="TASK", help="JSON-lines files")
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--model", type=Path, default=MODEL_DIRECTORY, help="checkpoint directory")
    parser.add_argument("--harness", type=Path, help="interpreter that has lm_eval")
    parser.add_argument("--items", type=int, help="items of each task, from its start [all]")
    parser.add_argument(
        "--bos",
        action=argparse.BooleanOptionalAction,
        help="begin with the beginning-of-text token, or never [as the tokenizer does]",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
