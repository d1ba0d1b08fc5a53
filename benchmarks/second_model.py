"""A second real language model for the benchmarks, trained from scratch in about ten minutes.

    python -m benchmarks.second_model FOLDER

It has another depth, width and seed than the demo model and a third of its training steps. FOLDER
gets two checkpoints, `early` (half way, at the full learning rate) and `model` (the end), and what
a run that was stopped needs to go on.
"""

from __future__ import annotations

import argparse
import shutil
import threading
from pathlib import Path

from transformers import AutoConfig, AutoModelForCausalLM

from decoder.training.checkpoint import checkpoint_step, restore
from layershap.demo.train import CHECKPOINT, Recipe, train

__all__ = ["EARLY", "FINAL", "RECIPE", "second_model"]

RECIPE = Recipe(layers=10, width=96, mlp_width=256, heads=3, steps=700, warmup=50, batch=12, seed=1)
EARLY, FINAL = "early", "model"


def second_model(folder: Path, recipe: Recipe = RECIPE, processes: int = 1) -> None:
    """Trains the model, or goes on with it, and writes both checkpoints into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    half = recipe.steps // 2
    kept, finished = folder / "half-way.safetensors", threading.Event()
    watcher = threading.Thread(target=_keep_first, args=(folder, half, kept, finished))
    watcher.start()
    try:
        train(recipe, folder, folder / FINAL, processes=processes, every=half)
    finally:
        finished.set()
        watcher.join()
    if not kept.exists():
        return
    config = AutoConfig.from_pretrained(folder / FINAL)
    model = AutoModelForCausalLM.from_config(config)
    restore(kept, model)
    part = folder / f"{EARLY}.part"
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    for file in (folder / FINAL).iterdir():
        if not (part / file.name).exists():
            shutil.copyfile(file, part / file.name)
    part.replace(folder / EARLY)
    kept.unlink()


def _keep_first(folder: Path, step: int, kept: Path, finished: threading.Event) -> None:
    """Keeps the checkpoint of a step under another name before training writes over it."""
    seen = 0.0
    while not kept.exists() and not finished.wait(0.5):
        checkpoint = folder / CHECKPOINT
        if not checkpoint.exists() or checkpoint.stat().st_mtime == seen:
            continue
        seen = checkpoint.stat().st_mtime
        part = kept.with_suffix(".part")
        shutil.copyfile(checkpoint, part)
        if checkpoint_step(part) == step:
            part.replace(kept)
        else:
            part.unlink()


def main() -> None:
    """Trains it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--processes", type=int, default=1, help="of one thread each [1]")
    options = parser.parse_args()
    second_model(options.folder, processes=options.processes)


if __name__ == "__main__":
    main()
