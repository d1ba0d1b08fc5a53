"""The embedded default model: a small real language model and the text it is measured on.

The weights lie beside this file; the text is read at run time from the Python installation
of the machine and never stored. `python -m layershap.demo train` makes the model again.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["MODEL_DIRECTORY"]

MODEL_DIRECTORY = Path(__file__).parent / "model"
"""Directory of the shipped checkpoint: `AutoModelForCausalLM.from_pretrained(MODEL_DIRECTORY)`."""
