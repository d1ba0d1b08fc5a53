"""Finding the methods that the modules of a package declare, without importing the modules.

What an algorithm works with takes seconds to import (PyTorch, JAX), and a list of methods needs
none of it. So declarations are read from the text of the modules: every constant at the top level
that is a call of `Method`. What runs is looked up in the imported module when it is first called.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from shapley.baselines import Method

__all__ = ["Deferred", "discover"]

_CODE = ("run", "price", "check")  # what a declaration holds that is called


@dataclass(frozen=True)
class Deferred:
    """A function of a declaration, whose module is imported when it is called.

    Attributes:
        module: that declares the method.
        constant: its name there.
        attribute: of the declaration.
    """

    module: str
    constant: str
    attribute: str

    def __call__(self, *arguments: Any) -> Any:
        """Calls the function itself."""
        method = getattr(import_module(self.module), self.constant)
        return getattr(method, self.attribute)(*arguments)


def discover(packages: Sequence[str]) -> tuple[Method[Any], ...]:
    """Read the methods that the modules of these packages declare.

    Args:
        packages: dotted names; their own subpackages are not looked into.

    Returns:
        The methods, defaults first and in their places, the others by name.

    Raises:
        ValueError: a declaration is not written out as literals, or two share a word that a
            person could type or a place among the defaults.
        ModuleNotFoundError: there is no such package.
    """
    found = [
        method
        for package in packages
        for module in iter_modules(_folders(package))
        if not module.ispkg
        for method in _declared(f"{package}.{module.name}")
    ]
    _check_apart(found)
    return tuple(
        sorted(found, key=lambda m: (m.default is None, m.default or 0, m.name.lower(), m.name))
    )


def _folders(package: str) -> list[str]:
    """Where the modules of a package are; the packages around it are not imported either."""
    folders: Sequence[str] | None = None
    words = package.split(".")
    for depth in range(1, len(words) + 1):
        name = ".".join(words[:depth])
        spec = PathFinder.find_spec(name, folders)
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError(f"no package {name}", name=name)
        folders = list(spec.submodule_search_locations)
    assert folders is not None
    return list(folders)


def _declared(module: str) -> Iterator[Method[Any]]:
    """The declarations in the text of one module, from the top."""
    spec = PathFinder.find_spec(module, _folders(module.rpartition(".")[0]))
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text(encoding="utf-8")
    for statement in ast.parse(source, spec.origin).body:
        if not isinstance(statement, ast.Assign | ast.AnnAssign):
            continue
        call = statement.value
        if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "Method"):
            continue
        place = f"{spec.origin}:{statement.lineno}"
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if len(targets) != 1 or not isinstance(targets[0], ast.Name) or call.args:
            raise ValueError(f"{place}: declare a method as NAME = Method(name=..., ...)")
        yield _read(call, module, targets[0].id, place)


def _read(call: ast.Call, module: str, constant: str, place: str) -> Method[Any]:
    given: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg in _CODE:
            given[keyword.arg] = Deferred(module, constant, keyword.arg)
            continue
        try:
            given[str(keyword.arg)] = ast.literal_eval(keyword.value)
        except ValueError:
            raise ValueError(
                f"{place}: {keyword.arg} of a method must be a literal, because declarations are "
                "read without importing their module; write it out"
            ) from None
    try:
        return Method(**given)
    except TypeError as error:
        raise ValueError(f"{place}: {error}") from None


def _check_apart(methods: Sequence[Method[Any]]) -> None:
    words: dict[str, str] = {}
    places: dict[int, str] = {}
    for method in methods:
        for word in {method.name.lower(), method.slug, *map(str.lower, method.also)}:
            if word in words:
                raise ValueError(f"methods {words[word]} and {method.name} are both called {word}")
            words[word] = method.name
        if method.default is not None:
            if method.default in places:
                raise ValueError(
                    f"methods {places[method.default]} and {method.name} both have default place "
                    f"{method.default}"
                )
            places[method.default] = method.name
