"""The page's JavaScript modules put into one script, which a page opened from a file can run.

Browsers refuse to import modules from ``file:`` addresses. So each module becomes a function that
runs once, in the order of their imports, and hands out what it exports.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["bundle", "bundle_folder"]

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w-]+)\.js";\n', re.M)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.M)
_FOREIGN = re.compile(r"^\s*(import|export)\b.*$", re.M)


def bundle_folder(folder: Path, entry: str) -> str:
    """Returns the modules of a folder that the entry needs, as one script.

    Raises:
        ValueError: as `bundle` does.
    """
    modules = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.js")}
    return bundle(modules, entry)


def bundle(modules: Mapping[str, str], entry: str) -> str:
    """Returns modules as one script that keeps their scopes apart.

    Args:
        modules: source by name. Imports are named and from other modules: ``import { a, b } from
            "./other.js";``. Exports stand before a function, a class or a const.
        entry: the module that runs last.

    Raises:
        ValueError: a module is missing, imports itself in a circle, or is written otherwise.
    """
    done: dict[str, str] = {}

    def add(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            raise ValueError(f"{' -> '.join((*way, name))}: imports go in a circle; break it up")
        if name in done:
            return
        if name not in modules:
            raise ValueError(f"{name}.js: no such module, imported by {way[-1] if way else 'you'}")
        for _, other in _IMPORT.findall(modules[name]):
            add(other, (*way, name))
        done[name] = _wrapped(name, modules[name])

    add(entry, ())
    return '"use strict";\n' + "\n".join(done.values())


def _wrapped(name: str, source: str) -> str:
    names = _EXPORT.findall(source)
    body = _IMPORT.sub(r"const {\1} = \2Module;\n", source)
    body = _EXPORT.sub("", body)
    if strange := _FOREIGN.search(body):
        raise ValueError(
            f'{name}.js: {strange[0].strip()!r} cannot be bundled; write import {{ a }} from "./b'
            '.js"; or export before a function, class or const'
        )
    return f"const {name}Module = (() => {{\n{body}return {{ {', '.join(names)} }};\n}})();"
