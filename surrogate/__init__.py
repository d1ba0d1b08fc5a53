"""A learned game: predicts the utility of any coalition from measured ones, with intervals."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from surrogate.model.conformal import Conformal
    from surrogate.model.evaluation import BASELINES, Evaluation, evaluate
    from surrogate.model.game import SurrogateGame
    from surrogate.model.regressor import SurrogateRegressor
    from surrogate.model.scores import Scores
    from surrogate.model.storage import SurrogateNotFound, SurrogateUnreadable, load, save

__all__ = [
    "BASELINES",
    "Conformal",
    "Evaluation",
    "Scores",
    "SurrogateGame",
    "SurrogateNotFound",
    "SurrogateRegressor",
    "SurrogateUnreadable",
    "evaluate",
    "load",
    "save",
]

# JAX and scikit-learn take seconds to import: only whoever uses a name pays for them.
_HOMES = {
    "BASELINES": "evaluation",
    "Conformal": "conformal",
    "Evaluation": "evaluation",
    "Scores": "scores",
    "SurrogateGame": "game",
    "SurrogateNotFound": "storage",
    "SurrogateRegressor": "regressor",
    "SurrogateUnreadable": "storage",
    "evaluate": "evaluation",
    "load": "storage",
    "save": "storage",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.model.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
