"""What every process of the sweep needs, imported once before they part."""

import os
import warnings

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.simplefilter("ignore")

from pathlib import Path  # noqa: E402
from tempfile import TemporaryDirectory  # noqa: E402

import torch  # noqa: E402

from benchmarks.support.families.check import checked  # noqa: E402

torch.set_num_threads(1)
with TemporaryDirectory() as folder:
    checked("llama", Path(folder))
