"""A game in a module: anything that people can call with coalitions, imported by its name."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from layershap.errors import UserError
from layershap.games.names import checked_names, fitting_names
from layershap.games.tables import unsound
from shapley.interop import from_shapiq

__all__ = ["UserGame", "load_game"]


class UserGame:
    """A game of somebody else's, whose answers and failures are checked one call at a time."""

    def __init__(self, game: Callable[..., Any], players: tuple[str, ...], where: str) -> None:
        """Wraps a batched function; ``where`` begins the messages, as ``--game module:name``."""
        self.game = game
        self.players = players
        self.where = where

    def __call__(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B"]:
        """Asks the game; what it prints goes to standard error.

        Raises:
            UserError: if it raises, or does not answer with one finite real number a row.
        """
        try:
            with contextlib.redirect_stdout(sys.stderr):
                answer = np.asarray(self.game(coalitions.copy()))
        except (Exception, SystemExit) as error:
            raise UserError(f"{self.where}: raised {_named(error)}") from error
        if answer.shape != (len(coalitions),) or answer.dtype.kind not in "fiub":
            raise UserError(
                f"{self.where}: answered {len(coalitions)} sets with {answer.dtype}"
                f" {list(answer.shape)}; return one real number a row"
            )
        utilities = answer.astype(np.float64)
        bad = unsound(utilities)
        if len(bad):
            kept = np.array(self.players)[coalitions[bad[0]]]
            raise UserError(
                f"{self.where}: answered {utilities[bad[0]]:g} when only [{', '.join(kept)}]"
                f" {'is' if len(kept) == 1 else 'are'} kept; return finite utilities"
            )
        return utilities


def load_game(spec: str, players: Sequence[str] | int | None = None) -> UserGame:
    """Imports a game from the current directory or the path.

    Args:
        spec: ``module:name``. The object is a game (it has ``players`` and takes a batch of
            coalitions), a function of a batch with an attribute ``players`` (names or how many),
            any function of a batch if ``players`` is given, a function or class that makes a game
            when it is called without arguments, or a game of shapiq.
        players: names, or how many there are, in place of the game's own.

    Raises:
        UserError: if it cannot be imported or is none of these, or the names do not fit.
    """
    where = f"--game {spec}"
    found = _imported(spec, where)
    if not callable(found):
        raise UserError(f"{where}: is a {type(found).__name__}; name a game or a function")
    if inspect.isclass(found) or not (_is_game(found) or _takes_rows(found)):
        made = _made(found, where)
        if not (callable(made) and _is_game(made)):
            raise UserError(
                f"{where}: made a {type(made).__name__}, which is no game; return an object with"
                " players that can be called with a boolean array"
            )
        found = made
    if not hasattr(found, "players") and hasattr(found, "n_players"):
        found = _from_shapiq(found, where)
    own = getattr(found, "players", None)
    if own is None and players is None:
        raise UserError(
            f"{where}: does not tell its players; give --players NAMES (or how many), or set"
            " an attribute players"
        )
    if own is None:
        names = checked_names(players, "--players")
    else:
        names = checked_names(own, where)
        if players is not None:
            names = fitting_names(players, len(names))
    return UserGame(found, names, where)


def _imported(spec: str, where: str) -> Any:
    module_name, _, path = spec.partition(":")
    if not module_name or not path:
        raise UserError(f"{where}: must be module:name, as games:quality for games.py here")
    if module_name.endswith(".py") or os.sep in module_name:
        hint = module_name.removesuffix(".py").replace(os.sep, ".").lstrip(".")
        raise UserError(f"{where}: must name a module, not a file; write {hint}:{path}")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise UserError(
                f"{where}: no module {error.name} in {here} or on the path; go to its directory"
            ) from None
        raise UserError(f"{where}: importing it raised {_named(error)}") from error
    except (Exception, SystemExit) as error:
        raise UserError(f"{where}: importing it raised {_named(error)}") from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            near = _nearest(name, dir(found))
            raise UserError(f"{where}: {module_name} has no {name}{near}") from None
    return found


def _nearest(name: str, known: Sequence[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, [k for k in known if k[:1] != "_"], n=1)
    return f"; the nearest name is {close[0]}" if close else "; name what it defines"


def _is_game(found: Any) -> bool:
    return hasattr(found, "players") or hasattr(found, "n_players")


def _takes_rows(found: Any) -> bool:
    """Whether a function needs an argument, as one of a batch does."""
    try:
        inspect.signature(found).bind()
    except TypeError:
        return True
    except ValueError:  # built in, without a signature
        return True
    return False


def _from_shapiq(found: Any, where: str) -> Any:
    try:
        return from_shapiq(found)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def _made(factory: Any, where: str) -> Any:
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return factory()
    except (Exception, SystemExit) as error:
        raise UserError(f"{where}: making the game raised {_named(error)}") from error


def _named(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
