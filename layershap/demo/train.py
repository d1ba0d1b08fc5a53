"""Training of the demo model: its text, architecture, two optimisers, and a log for the report.

Hidden matrices are trained by Muon (Jordan et al., 2024), embeddings and norms by AdamW; the
learning rate warms up, stays, and falls linearly to zero over the last part of the steps.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from jaxtyping import Int
from torch.distributed import FileStore  # type: ignore[attr-defined]
from torch.multiprocessing.spawn import spawn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from decoder.surgery.apply import applied
from decoder.surgery.edit import Remove
from decoder.training import loop
from decoder.training.checkpoint import restore
from decoder.training.loop import Progress, TrainingSettings
from layershap.demo.corpus import SPLITS, Split, documents
from layershap.demo.tokenizer import END_OF_TEXT, train_tokenizer
from layershap.demo.trigram import Trigram
from layershap.files import write_whole

__all__ = ["CHECKPOINT", "Recipe", "train"]

CHECKPOINT = "checkpoint.safetensors"
"""Name of the file in the folder of work that a training goes on from."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the demo model. Sizes in units of the model, rates per step."""

    layers: int = 12
    width: int = 160
    mlp_width: int = 432
    heads: int = 5
    vocabulary: int = 2048
    context: int = 256
    batch: int = 16
    steps: int = 2200
    warmup: int = 100
    decay: float = 0.5
    muon_rate: float = 0.02
    adam_rate: float = 4e-3
    weight_decay: float = 0.02
    tests_share: float = 0.35
    seed: int = 0


def train(recipe: Recipe, work: Path, destination: Path, *, processes: int, every: int) -> None:
    """Train, checkpointing into `work` every `every` steps, and write the model to `destination`.

    A run that is started again with the same `work` continues from its last checkpoint. Each of
    the `processes` takes its share of every batch on one thread: on CPUs this is about twice as
    fast as the same number of threads in one process.

    Args:
        recipe: what decides the model.
        work: folder of token cache, checkpoint, log and summary; made where it is missing.
        destination: folder that the finished model is written to.
        processes: how many share each batch.
        every: steps between checkpoints.

    Raises:
        DamagedCheckpoint: that in `work` cannot be read, or is that of another recipe.
    """
    work.mkdir(parents=True, exist_ok=True)
    tokenizer, streams = _prepare(recipe, work)
    model = _model(recipe)
    if (work / CHECKPOINT).exists():  # refused here in one line rather than by every process
        restore(work / CHECKPOINT, model, _optimisers(model, recipe))
    spawn(_worker, (recipe, work, processes, every), nprocs=processes)
    (work / f"store-{os.getpid()}").unlink(missing_ok=True)
    restore(work / CHECKPOINT, model)
    model.save_pretrained(destination)
    tokenizer.save_pretrained(destination)
    summary = _summary(model, streams, recipe)
    (work / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(summary, indent=2))


def _worker(rank: int, recipe: Recipe, work: Path, processes: int, every: int) -> None:
    torch.set_num_threads(1)
    store = FileStore(str(work / f"store-{os.getppid()}"), processes)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=processes)
    _, streams = _prepare(recipe, work)
    model = _model(recipe)
    settings = TrainingSettings(
        steps=recipe.steps,
        warmup=recipe.warmup,
        decay=recipe.decay,
        every=every,
        autocast=torch.bfloat16,
        seed=recipe.seed,
    )
    loop.train(
        model,
        _optimisers(model, recipe),
        lambda step: _batch(streams, recipe, step),
        settings,
        work / CHECKPOINT,
        evaluate=lambda: _loss(model, streams["calibration"], recipe),
        report=lambda progress: _report(progress, recipe, settings, work / "log.jsonl"),
    )
    torch.distributed.destroy_process_group()


def _report(progress: Progress, recipe: Recipe, settings: TrainingSettings, log: Path) -> None:
    step = progress.step
    if step % settings.report_every == 0:
        left = (recipe.steps - step) * progress.pace / 60
        print(
            f"step {step}/{recipe.steps} loss {progress.loss:.3f} rate {progress.rate:.2f} "
            f"{recipe.batch * recipe.context / progress.pace:,.0f} tokens/s, {left:.0f} min left",
            flush=True,
        )
    if progress.evaluation is None:
        return
    record = {
        "step": step,
        "tokens": step * recipe.batch * recipe.context,
        "train_loss": round(progress.loss, 4),
        "calibration_loss": round(progress.evaluation, 4),
        "seconds": round(progress.seconds, 1),
    }
    print(record, flush=True)
    # A kill between this and the checkpoint leaves a record that training comes by again.
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    kept = [line for line in lines if json.loads(line)["step"] < step]
    write_whole(log, "\n".join([*kept, json.dumps(record)]) + "\n")


def _prepare(
    recipe: Recipe, work: Path
) -> tuple[PreTrainedTokenizerFast, dict[str, Int[np.ndarray, "N"]]]:
    """Tokenizer and token streams ("train" apart as library and tests), cached in `work`."""
    folder = work / "tokenizer"
    if (folder / "tokenizer.json").exists():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    else:
        texts = (d.text for d in documents("train") if not d.name.startswith("test/"))
        tokenizer = train_tokenizer(texts, recipe.vocabulary, recipe.context)
        tokenizer.save_pretrained(folder)
    cache = work / "tokens.npz"
    if cache.exists():
        with np.load(cache) as stored:
            return tokenizer, dict(stored)
    streams = {
        "library": _stream(tokenizer, "train", tests=False),
        "tests": _stream(tokenizer, "train", tests=True),
        **{split: _stream(tokenizer, split, tests=False) for split in SPLITS if split != "train"},
    }
    np.savez(cache, **streams)  # type: ignore[arg-type]
    return tokenizer, streams


def _stream(tokenizer: PreTrainedTokenizerFast, split: Split, *, tests: bool) -> np.ndarray:
    texts = [d.text + END_OF_TEXT for d in documents(split) if tests == d.name.startswith("test/")]
    encoded = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    return np.concatenate([np.asarray(ids, dtype=np.int32) for ids in encoded])


def _batch(streams: dict[str, np.ndarray], recipe: Recipe, step: int) -> torch.Tensor:
    rng = np.random.default_rng([recipe.seed, step])
    rows = []
    for from_tests in rng.random(recipe.batch) < recipe.tests_share:
        stream = streams["tests" if from_tests and len(streams["tests"]) else "library"]
        start = rng.integers(len(stream) - recipe.context)
        rows.append(stream[start : start + recipe.context])
    return torch.from_numpy(np.stack(rows).astype(np.int64))


def _model(recipe: Recipe) -> LlamaForCausalLM:
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        hidden_size=recipe.width,
        intermediate_size=recipe.mlp_width,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        vocab_size=recipe.vocabulary,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    return LlamaForCausalLM(config)


def _optimisers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim < 2 or "embed" in name]
    muon = torch.optim.Muon(
        matrices, lr=recipe.muon_rate, weight_decay=recipe.weight_decay, momentum=0.95
    )
    adam = torch.optim.AdamW(others, lr=recipe.adam_rate, betas=(0.9, 0.95), weight_decay=0.0)
    return [muon, adam]


@torch.no_grad()
def _loss(model: LlamaForCausalLM, stream: np.ndarray, recipe: Recipe, rows: int = 96) -> float:
    """Nats per token over evenly spaced sequences (all of them where there are no more)."""
    count = (len(stream)) // recipe.context
    chosen = np.unique(np.linspace(0, count - 1, min(rows, count)).astype(int))
    tokens = torch.from_numpy(
        stream[: count * recipe.context].reshape(count, recipe.context)[chosen].astype(np.int64)
    )
    losses = [model(input_ids=b, labels=b, use_cache=False).loss.item() for b in tokens.split(16)]
    return float(np.mean(losses))


def _summary(
    model: LlamaForCausalLM, streams: dict[str, np.ndarray], recipe: Recipe
) -> dict[str, Any]:
    """Held-out loss beside the trigram model's, and the cost of each single removal (nats)."""
    heldout = streams["heldout"]
    trigram = Trigram(np.concatenate([streams["library"], streams["tests"]]), recipe.vocabulary)
    dense = _loss(model, heldout, recipe, rows=10**9)
    subset = _loss(model, heldout, recipe, rows=128)
    ablations = []
    for removed in range(recipe.layers):
        with applied(model, [Remove(removed)]):
            ablations.append(_loss(model, heldout, recipe, rows=128) - subset)
    return {
        "recipe": asdict(recipe),
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_tokens": int(len(streams["library"]) + len(streams["tests"])),
        "heldout_tokens": len(heldout),
        "heldout_nll": dense,
        "trigram_nll": trigram.nll(heldout),
        "single_removals": ablations,
    }
