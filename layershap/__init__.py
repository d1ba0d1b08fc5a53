"""What each layer of a language model is worth, and which layers it can do without.

    run = layershap.open("runs/demo")
    run.values                      # a pandas DataFrame
    run.predict(remove=[4, 6])      # a number with its interval

Names are imported when they are first used, so that `import layershap` takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layershap.api.answers import Measurement, Prediction
    from layershap.api.launching import run
    from layershap.api.opened import OpenedRun
    from layershap.api.opening import load_checkpoint as load
    from layershap.api.opening import open_run as open
    from layershap.status.run_status import RunStatus

__all__ = ["Measurement", "OpenedRun", "Prediction", "RunStatus", "load", "open", "run"]

_HOMES = {
    "Measurement": ("api.answers", "Measurement"),
    "OpenedRun": ("api.opened", "OpenedRun"),
    "Prediction": ("api.answers", "Prediction"),
    "RunStatus": ("status.run_status", "RunStatus"),
    "load": ("api.opening", "load_checkpoint"),
    "open": ("api.opening", "open_run"),
    "run": ("api.launching", "run"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'layershap' has no attribute {name!r}")
    home, own = _HOMES[name]
    found = globals()[name] = getattr(import_module(f"layershap.{home}"), own)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
