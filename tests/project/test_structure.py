"""The house stays as it is drawn: small folders, no circles, short files, tests in its rooms."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.structure import ROOT, Folder, folders

ROOMS = ("layershap", "decoder", "cluster", "surrogate", "shapley", "sampling")
FOLDERS = folders(ROOT, ROOMS)
MOST_BOXES = 20
MOST_LINES = 350
TESTS = ROOT / "tests"
NO_ROOMS = {"support", "project", "snapshots"}


@pytest.fixture(params=FOLDERS, ids=[folder.name for folder in FOLDERS])
def folder(request) -> Folder:
    return request.param


def test_a_folder_can_be_seen_at_a_glance(folder):
    assert len(folder.boxes) <= MOST_BOXES


def test_no_boxes_import_each_other_in_a_circle(folder):
    assert folder.circles == ()


@pytest.mark.parametrize("room", ROOMS)
def test_files_are_short(room):
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / room).rglob("*.py")
    }
    assert {path: length for path, length in lengths.items() if length > MOST_LINES} == {}


@pytest.mark.parametrize("room", ROOMS)
def test_no_file_is_written_or_read_in_a_form_that_executes(room):
    found = {
        str(path.relative_to(ROOT)): sorted(used)
        for path in (ROOT / room).rglob("*.py")
        if (used := executing_forms(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_forms_that_execute_are_found():
    source = "import pickle\ntorch.load(f)\nnp.load(f, allow_pickle=True)\nfrom pickle import dumps"
    assert executing_forms(source) == {"pickle", "torch.load", "allow_pickle=True"}
    assert not executing_forms('"""torch.save"""\nnp.load(f, allow_pickle=False)')


def executing_forms(source: str) -> set[str]:
    """What of a module's code writes or reads files that can run code."""
    imported, called, options = set(), set(), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
        elif isinstance(node, ast.Attribute):
            called.add(ast.unparse(node))
        elif isinstance(node, ast.keyword):
            options.add(f"{node.arg}={ast.unparse(node.value)}")
    return (
        imported & {"pickle"} | called & {"torch.save", "torch.load"}
        | options & {"allow_pickle=True"}
    )  # fmt: skip


def test_circles_are_found(tmp_path):
    room = tmp_path / "room"
    (room / "inner").mkdir(parents=True)
    for name, text in {
        "__init__": "",
        "a": "from room import b",
        "b": "from room.inner.c import something",
        "inner/__init__": "",
        "inner/c": "def late():\n    import room.a",
        "d": "from room.a import a",
    }.items():
        (room / f"{name}.py").write_text(text)
    whole, inner = folders(tmp_path, ("room",))
    assert whole.circles == (("a", "b", "inner"),)
    assert whole.boxes == {"a", "b", "d", "inner"}
    assert inner.circles == ()


def modules_of_tests() -> list[Path]:
    return sorted(TESTS.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports from, with what it takes from them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_no_test_imports_another():
    for path in modules_of_tests():
        taken = [
            name
            for name in imported(path)
            if any(part.startswith("test_") for part in name.split(".")[:-1])
            or (name.split(".")[0] == "tests" and not name.startswith("tests.support."))
        ]
        assert taken == [], path.relative_to(ROOT)


def test_tests_mirror_the_rooms():
    for path in TESTS.rglob("test_*.py"):
        place = path.parent.relative_to(TESTS)
        if place.parts[0] not in NO_ROOMS:
            assert (ROOT / place / "__init__.py").is_file(), f"{place} is no room"


def test_only_support_and_rooms_are_beside_each_other():
    beside = {path.name for path in TESTS.iterdir() if path.is_dir()} - {"__pycache__"}
    assert beside == {*ROOMS, *NO_ROOMS}
