"""A fitted surrogate on disk: weights as safetensors, everything else as JSON."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from surrogate.ensemble.ensemble import Ensemble
from surrogate.ensemble.network import Networks
from surrogate.ensemble.prediction import Predictor
from surrogate.ensemble.processes import Fit
from surrogate.ensemble.warp import Warp
from surrogate.model.conformal import Conformal
from surrogate.model.regressor import SurrogateRegressor, stack_of
from surrogate.model.scores import Scores
from surrogate.process.kernel import Kernel, Order, Process

__all__ = ["SCHEMA", "SurrogateNotFound", "SurrogateUnreadable", "load", "save"]

SCHEMA = 4
METADATA = "surrogate.json"


class SurrogateNotFound(ValueError):
    """There is no surrogate at the path."""


class SurrogateUnreadable(ValueError):
    """There is a surrogate at the path, but this version cannot read it."""


def save(regressor: SurrogateRegressor, directory: str | os.PathLike[str]) -> Path:
    """Writes a fitted surrogate and returns its directory.

    The metadata names the weights file and is put in place last and at once, so a reader sees
    the old surrogate or the new one, never a mixture.

    Raises:
        ValueError: if the regressor is not fitted.
    """
    if not hasattr(regressor, "ensemble_"):
        raise ValueError("regressor is not fitted; call fit before saving it")
    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    ensemble = regressor.ensemble_
    arrays: dict[str, np.ndarray] = {
        "out_of_fold": regressor.out_of_fold_,
        "folds": regressor.folds_,
        **{f"learner.{name}": part for name, part in regressor.learners_out_of_fold_.items()},
        **{f"conformal.{name}": part for name, part in vars(regressor.conformal_).items()},
        "far_mix": ensemble.far_mix,
        "near_mix": ensemble.near_mix,
    }
    if ensemble.networks is not None:
        parts = vars(ensemble.networks).items()
        arrays |= {f"networks.{name}": part for name, part in parts}
    numbers: dict[str, float] = {"level": ensemble.level, "spread": ensemble.spread}
    for name, fit in (("process", ensemble.process), ("near", ensemble.near)):
        if fit is None:
            continue
        arrays[f"{name}.held_out"] = fit.held_out
        arrays[f"{name}.points"], arrays[f"{name}.weights"] = (
            fit.process.points,
            fit.process.weights,
        )
        numbers[f"{name}.mean"], numbers[f"{name}.scale"] = fit.mean, fit.scale
        for field, value in vars(fit.process.kernel).items():
            if isinstance(value, Order):
                for part, array in vars(value).items():
                    arrays[f"{name}.order.{part}"] = array
            elif isinstance(value, np.ndarray):
                arrays[f"{name}.kernel.{field}"] = value
            else:
                numbers[f"{name}.kernel.{field}"] = float(value)

    weights = f"weights-{uuid.uuid4().hex[:12]}.safetensors"
    _replace(
        path / weights,
        lambda temporary: save_file(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary
        ),
    )
    metadata = {
        "schema": SCHEMA,
        "weights": weights,
        "players": regressor.n_features_in_,
        "parameters": {name: _plain(value) for name, value in regressor.get_params().items()},
        "warp": asdict(ensemble.warp),
        "scores": asdict(regressor.scores_),
        "numbers": numbers,
    }
    text = json.dumps(metadata, indent=2, sort_keys=True, allow_nan=False)
    _replace(path / METADATA, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    for old in path.glob("weights-*.safetensors"):
        if old.name != weights:
            old.unlink(missing_ok=True)
    return path


def load(directory: str | os.PathLike[str]) -> SurrogateRegressor:
    """Reads a surrogate that predicts exactly as the saved one did.

    Raises:
        SurrogateNotFound: if nothing was saved at the path.
        SurrogateUnreadable: if it is damaged or was written by another schema version.
    """
    path = Path(directory)
    if not (path / METADATA).is_file():
        raise SurrogateNotFound(f"no surrogate at {path}; fit one and save it there first")
    try:
        metadata = json.loads((path / METADATA).read_text(encoding="utf-8"))
        found = metadata["schema"]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise _unreadable(path, f"{METADATA} is damaged ({type(error).__name__})") from error
    if found != SCHEMA:
        raise _unreadable(path, f"its schema is {found!r} and this version reads {SCHEMA}")
    try:
        arrays = load_file(path / Path(metadata["weights"]).name)
        return _rebuild(metadata, arrays)
    except FileNotFoundError as error:
        raise _unreadable(path, "its weights file is missing") from error
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unreadable(path, f"its weights do not fit ({type(error).__name__})") from error


def _rebuild(metadata: dict[str, Any], arrays: dict[str, np.ndarray]) -> SurrogateRegressor:
    numbers = metadata["numbers"]

    def part(name: str) -> dict[str, Any]:
        prefix = f"{name}."
        return {
            key.removeprefix(prefix): value
            for source in (arrays, numbers)
            for key, value in source.items()
            if key.startswith(prefix)
        }

    def fit(name: str) -> Fit:
        found = part(name)
        kernel = Kernel(**part(f"{name}.kernel"), order=Order(**part(f"{name}.order")))
        process = Process(kernel, found["points"], found["weights"])
        return Fit(process, found["mean"], found["scale"], found["held_out"])

    regressor = SurrogateRegressor(**metadata["parameters"])
    regressor.n_features_in_ = int(metadata["players"])
    regressor.ensemble_ = Ensemble(
        warp=_warp(metadata["warp"]),
        process=fit("process"),
        near=fit("near") if "near.mean" in numbers else None,
        networks=Networks(**found) if (found := part("networks")) else None,
        level=numbers["level"],
        spread=numbers["spread"],
        far_mix=arrays["far_mix"],
        near_mix=arrays["near_mix"],
    )
    regressor.predictor_ = Predictor(regressor.ensemble_)
    regressor.out_of_fold_ = arrays["out_of_fold"]
    regressor.learners_out_of_fold_ = part("learner")
    regressor.folds_ = arrays["folds"]
    regressor.scores_ = Scores(**metadata["scores"])
    regressor.stack_ = stack_of(regressor.ensemble_)
    regressor.conformal_ = Conformal(**part("conformal"))
    return regressor


def _warp(data: dict[str, Any]) -> Warp:
    warp = Warp(float(data["whole"]), float(data["unit"]), data["kind"])
    if warp.kind not in ("log", "raw") or not warp.unit > 0:
        raise ValueError("another scale")
    return warp


def _replace(target: Path, write: Callable[[Path], object]) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _unreadable(path: Path, reason: str) -> SurrogateUnreadable:
    return SurrogateUnreadable(
        f"surrogate at {path} cannot be read: {reason}; fit it again from the measurements"
    )
