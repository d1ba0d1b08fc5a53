"""Opening what was written: a run directory, an exported checkpoint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from layershap.api.opened import OpenedRun
from layershap.errors import UserError
from layershap.runs.config_file import read_config
from layershap.runs.directory import RunDirectory

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["load_checkpoint", "open_run"]


def open_run(path: str | os.PathLike[str]) -> OpenedRun:
    """Open a run directory: what it found, predictions of any set, and its real model.

    Opening reads the configuration alone; everything else is read when it is asked for, and
    nothing is locked, so a run may be opened while it goes on, more than once, and from threads.
    What it offers::

        run = layershap.open("runs/demo")
        run.values, run.interactions, run.pairs       # pandas frames
        run.recommendations, run.baselines            # the same, measured on held-out text
        run.predict(remove=[4, 6])                    # the surrogate: a number with its interval
        run.measure(remove=[4, 6], text="heldout")    # the real model
        run.repair(remove=[4, 6])                     # what stays fitted to the whole model
        run.export(remove=[4, 6], to="smaller")       # a stock checkpoint
        run.load(remove=[4, 6], repair=True)          # the repaired smaller model
        run.plot_values(), run.plot_frontier()        # matplotlib figures
        print(run.status)                             # where it stands

    Args:
        path: directory that `layershap run` or `layershap measure` wrote; may begin with ``~``.

    Returns:
        The opened run.

    Raises:
        UserError: there is no run, or its `run.toml` is wrong.
    """
    place = Path(path).expanduser()
    if not place.is_dir():
        kind = "is a file" if place.exists() else "is not there"
        raise UserError(f"{place}: {kind}; name the directory of a run, as runs/demo")
    directory = RunDirectory(place)
    return OpenedRun(directory, read_config(directory.config))


def load_checkpoint(
    path: str | os.PathLike[str], *, dtype: str = "auto", device: str = "auto"
) -> PreTrainedModel:
    """Load an exported checkpoint, with the matrices at its cuts where it has some.

    No code of a checkpoint is run. Where there are no matrices it is the model that
    `AutoModelForCausalLM.from_pretrained` loads.

    Args:
        path: its directory; may begin with ``~``.
        dtype: "auto", "float32", "bfloat16" or "float16"; "auto" is float32 on a CPU and the
            checkpoint's own on a GPU.
        device: "auto" (the first GPU, else the CPU), "cpu", "cuda", "cuda:1", ...

    Raises:
        UserError: there is no directory; what has no matrices loads from the hub by itself.
        ModelError: there is no model in it, or the type or the device is unknown.
        EditError: the matrices are damaged or another model's.
    """
    place = Path(path).expanduser()
    if not place.is_dir():
        raise UserError(f"{place}: is not there; name the directory of an exported checkpoint")
    from decoder import ModelSpec
    from decoder.recovery.modules import load_with_matrices

    return load_with_matrices(ModelSpec(str(place), dtype, device))
