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

from shapley.regression.pairwise_ridge import PairwiseRidge
from surrogate.ensemble.ensemble import LEARNERS, Ensemble
from surrogate.ensemble.network import Networks
from surrogate.ensemble.prediction import Predictor
from surrogate.ensemble.trees import Trees
from surrogate.model.conformal import Conformal
from surrogate.model.regressor import SurrogateRegressor
from surrogate.model.scores import Scores
from surrogate.process.kernel import Kernel, Process

__all__ = ["SCHEMA", "SurrogateNotFound", "SurrogateUnreadable", "load", "save"]

SCHEMA = 2
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
        "conformal.residuals": regressor.conformal_.residuals,
        "conformal.removed": regressor.conformal_.removed,
        "conformal.weights": regressor.conformal_.weights,
        "stack": ensemble.stack,
    }
    numbers: dict[str, float] = {"mean": ensemble.mean, "scale": ensemble.scale}
    parts: dict[str, object] = {
        "kernel": ensemble.process.kernel,
        "process": ensemble.process,
        "quadratic": ensemble.quadratic,
        "trees": ensemble.trees,
        "networks": ensemble.networks,
    }
    for name, part in parts.items():
        for field, value in vars(part).items():
            if isinstance(value, np.ndarray):
                arrays[f"{name}.{field}"] = value
            elif not isinstance(value, Kernel):
                numbers[f"{name}.{field}"] = float(value)

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
        "learners": list(LEARNERS),
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
    if metadata["learners"] != list(LEARNERS):
        raise ValueError("other learners")
    numbers = metadata["numbers"]

    def part(name: str) -> dict[str, Any]:
        prefix = f"{name}."
        return {
            key.removeprefix(prefix): value
            for source in (arrays, numbers)
            for key, value in source.items()
            if key.startswith(prefix)
        }

    regressor = SurrogateRegressor(**metadata["parameters"])
    regressor.n_features_in_ = int(metadata["players"])
    regressor.ensemble_ = Ensemble(
        mean=numbers["mean"],
        scale=numbers["scale"],
        process=Process(kernel=Kernel(**part("kernel")), **part("process")),
        quadratic=PairwiseRidge(**part("quadratic")),
        trees=Trees(**part("trees")),
        networks=Networks(**part("networks")),
        stack=arrays["stack"],
    )
    regressor.predictor_ = Predictor(regressor.ensemble_)
    regressor.out_of_fold_ = arrays["out_of_fold"]
    regressor.folds_ = arrays["folds"]
    regressor.scores_ = Scores(**metadata["scores"])
    regressor.stack_ = dict(zip(LEARNERS, map(float, arrays["stack"]), strict=True))
    regressor.conformal_ = Conformal(
        arrays["conformal.residuals"],
        arrays["conformal.removed"],
        arrays["conformal.weights"],
        regressor.n_features_in_,
    )
    return regressor


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
