"""Training of the demo model: resumable, seeded, two optimisers, a log that becomes a report.

Hidden matrices are trained by Muon (Jordan et al., 2024), embeddings and norms by AdamW; the
learning rate warms up, stays, and falls linearly to zero over the last part of the steps.
"""

from __future__ import annotations

import json
import os
import time
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
from layershap.demo.corpus import SPLITS, Split, documents
from layershap.demo.tokenizer import END_OF_TEXT, train_tokenizer
from layershap.demo.trigram import Trigram

__all__ = ["Recipe", "train"]


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
    """
    work.mkdir(parents=True, exist_ok=True)
    _prepare(recipe, work)
    spawn(_worker, (recipe, work, processes, every), nprocs=processes)
    (work / f"store-{os.getpid()}").unlink(missing_ok=True)
    tokenizer, streams = _prepare(recipe, work)
    model = _model(recipe)
    model.load_state_dict(torch.load(work / "checkpoint.pt", weights_only=True)["model"])
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
    optimisers = _optimisers(model, recipe)
    step = _resume(work, model, optimisers)
    started, since = time.monotonic(), step
    while step < recipe.steps:
        rate = _rate(step, recipe)
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * rate
        batch_BT = _batch(streams, recipe, step)[rank::processes]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=batch_BT, labels=batch_BT, use_cache=False).loss
        loss.backward()
        _average_gradients(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        step += 1
        if rank == 0 and step % 20 == 0:
            pace = (time.monotonic() - started) / (step - since)
            left = (recipe.steps - step) * pace / 60
            print(
                f"step {step}/{recipe.steps} loss {loss.item():.3f} rate {rate:.2f} "
                f"{recipe.batch * recipe.context / pace:,.0f} tokens/s, {left:.0f} min left",
                flush=True,
            )
        if rank == 0 and (step % every == 0 or step == recipe.steps):
            record = {
                "step": step,
                "tokens": step * recipe.batch * recipe.context,
                "train_loss": round(loss.item(), 4),
                "calibration_loss": round(_loss(model, streams["calibration"], recipe), 4),
                "seconds": round(time.monotonic() - started, 1),
            }
            print(record, flush=True)
            with (work / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(record) + "\n")
            _checkpoint(work, model, optimisers, step)
    torch.distributed.destroy_process_group()


def _average_gradients(model: LlamaForCausalLM) -> None:
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


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
    for optimiser in (muon, adam):
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return [muon, adam]


def _rate(step: int, recipe: Recipe) -> float:
    """Fraction of the peak learning rate: linear warm-up, constant, linear fall to zero."""
    left = (recipe.steps - step) / (recipe.decay * recipe.steps)
    return min((step + 1) / recipe.warmup, 1.0, left)


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


def _checkpoint(
    work: Path, model: LlamaForCausalLM, optimisers: list[torch.optim.Optimizer], step: int
) -> None:
    state = {"step": step, "model": model.state_dict()}
    state["optimisers"] = [optimiser.state_dict() for optimiser in optimisers]
    torch.save(state, work / "checkpoint.part")
    (work / "checkpoint.part").replace(work / "checkpoint.pt")


def _resume(work: Path, model: LlamaForCausalLM, optimisers: list[torch.optim.Optimizer]) -> int:
    if not (work / "checkpoint.pt").exists():
        return 0
    state = torch.load(work / "checkpoint.pt", weights_only=True)
    model.load_state_dict(state["model"])
    for optimiser, stored in zip(optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(stored)
    return state["step"]


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
