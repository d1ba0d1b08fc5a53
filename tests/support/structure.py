"""The structure of the rooms: boxes, arrows between them and circles, counted from the imports.

`python -m tests.support.structure [ROOT]` prints a table. A box of a folder is a module or a
package directly inside it; an arrow is a pair of boxes of one folder of which one imports from the
other, imports for type checkers included.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

__all__ = ["Folder", "folders", "main"]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Folder:
    """A package and how its boxes hang together.

    Attributes:
        name: dotted.
        boxes: modules and packages directly inside.
        arrows: (importing box, imported box).
        lines: lines of Python in it, packages inside included.
        files: Python files in it, packages inside included.
    """

    name: str
    boxes: frozenset[str]
    arrows: frozenset[tuple[str, str]]
    lines: int
    files: int

    @cached_property
    def circles(self) -> tuple[tuple[str, ...], ...]:
        """Boxes that reach themselves along arrows, as the groups that reach each other."""
        reach = {box: {b for a, b in self.arrows if a == box} for box in self.boxes}
        for middle in self.boxes:
            for box in self.boxes:
                if middle in reach[box]:
                    reach[box] |= reach[middle]
        groups = {
            tuple(sorted(b for b in self.boxes if b in reach[box] and box in reach[b]))
            for box in self.boxes
            if box in reach[box]
        }
        return tuple(sorted(groups))


def folders(root: Path, rooms: tuple[str, ...]) -> list[Folder]:
    """Count every package below these top-level packages of a checkout."""
    sources = {
        _dotted(path.relative_to(root)): path
        for room in rooms
        for path in sorted((root / room).rglob("*.py"))
    }
    imports = {name: set(_imports(name, path, sources)) for name, path in sources.items()}
    packages = [name for name, path in sources.items() if path.name == "__init__.py"]
    return [_folder(package, sources, imports) for package in packages]


def _folder(package: str, sources: dict[str, Path], imports: dict[str, set[str]]) -> Folder:
    inside = [name for name in sources if name.startswith(f"{package}.")]
    own = [*inside, package]
    arrows = {
        (_box(package, name), _box(package, target))
        for name in inside
        for target in imports[name]
        if target.startswith(f"{package}.")
    }
    return Folder(
        package,
        frozenset(_box(package, name) for name in inside),
        frozenset((a, b) for a, b in arrows if a != b),
        sum(len(sources[name].read_text(encoding="utf-8").splitlines()) for name in own),
        len(own),
    )


def _box(package: str, name: str) -> str:
    return name.removeprefix(f"{package}.").partition(".")[0]


def _dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _imports(name: str, path: Path, sources: dict[str, Path]) -> Iterator[str]:
    """Modules that a module imports, wherever in it; a package only where it is imported itself."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in sources)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                if below in sources:
                    yield below
                elif node.module in sources:
                    yield node.module


def main() -> None:
    """Print the table of a checkout."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    rooms = ("layershap", "decoder", "llm", "cluster", "surrogate", "shapley", "sampling")
    found = folders(root, tuple(room for room in rooms if (root / room).is_dir()))
    print(f"{'room':32}{'files':>7}{'lines':>8}{'boxes':>7}{'arrows':>8}  circles")
    for folder in found:
        circles = "; ".join(" ".join(group) for group in folder.circles)
        print(
            f"{folder.name:32}{folder.files:>7}{folder.lines:>8}{len(folder.boxes):>7}"
            f"{len(folder.arrows):>8}  {circles}"
        )


if __name__ == "__main__":
    main()
