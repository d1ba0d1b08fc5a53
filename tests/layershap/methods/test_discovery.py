"""Methods are found where they are declared, by their modules' text alone."""

from __future__ import annotations

import importlib
import subprocess
import sys
from dataclasses import fields
from pkgutil import iter_modules
from types import SimpleNamespace
from typing import Any

import pytest

import decoder.baselines
import shapley.baselines
import surrogate.baselines
from layershap.methods.catalog import BASELINES, DEFAULTS
from layershap.methods.discovery import Deferred, discover
from shapley.baselines import Found, Method

FIRST = '''
"""A method in one file."""

import json  # stands for whatever takes seconds to import

from shapley.baselines import Found, Method


def run_first(context, counts):
    return Found({count: tuple(range(count)) for count in counts})


METHOD: Method = Method(
    name="First Layers!",
    source="this test, "
    "equation 1",
    needs="nothing",
    kind="selects sets",
    players=("layers",),
    also=("bottom",),
    price=lambda n, counts: n + len(counts),
    run=run_first,
)
'''
DECLARED = 'X = Method(name="x", source="s", needs="n", kind="edits", run=None'


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes modules of a package that is not imported, and returns its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, **modules):
        folder = tmp_path / name / "methods"
        folder.mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text("raise AssertionError('imported')")
        (folder / "__init__.py").write_text("")
        for module, text in modules.items():
            (folder / f"{module}.py").write_text(text)
        importlib.invalidate_caches()
        return f"{name}.methods"

    return write


def test_one_file_is_enough(package, tmp_path):
    name = package("rooms_a", helpers="LIMIT = 3\n", first=FIRST)
    (method,) = discover([name])
    assert not any(module.startswith("rooms_a") for module in sys.modules)
    assert (method.name, method.slug, method.also) == ("First Layers!", "first-layers", ("bottom",))
    assert method.source == "this test, equation 1"
    assert (method.players, method.metric, method.default) == (("layers",), None, None)
    assert method.check is None
    (tmp_path / "rooms_a" / "__init__.py").write_text("")
    context: Any = SimpleNamespace()
    assert method.run(context, [1, 2]) == Found({1: (0,), 2: (0, 1)})
    assert method.price is not None
    assert method.price(5, [1, 2]) == 7
    assert "rooms_a.methods.first" in sys.modules


def test_defaults_come_first_and_the_others_by_name(package):
    text = "\n".join(
        f'{letter} = Method(name="{letter}", source="s", needs="n", kind="edits", run=None{more})'
        for letter, more in (("c", ""), ("B", ""), ("a", ", default=2"), ("d", ", default=1"))
    )
    found = discover([package("rooms_b", several=text), package("rooms_c")])
    assert [method.name for method in found] == ["d", "a", "B", "c"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("NAME = 'x'\n" + DECLARED + ", metric=NAME)", r"one\.py:2: metric of a method must be a"),
        (DECLARED + ", colour='red')", r"one\.py:1: .*unexpected keyword argument 'colour'"),
        (DECLARED + ", **{'metric': 'nll'})", r"one\.py:1: "),
        ("X = Method(name='x')", r"one\.py:1: .*missing 4 required"),
        ("X = Method('x')", r"one\.py:1: declare a method as NAME = Method"),
        ("X = Y = Method(name='x')", r"one\.py:1: declare a method as NAME = Method"),
        (DECLARED + ")\n" + DECLARED + ")", "methods x and x are both called x"),
        (
            DECLARED + ", also=('Y',))\n" + DECLARED.replace('"x"', '"y"') + ")",
            "methods x and y are both called y",
        ),
        (
            DECLARED + ", default=1)\n" + DECLARED.replace('"x"', '"y"') + ", default=1)",
            "methods x and y both have default place 1",
        ),
    ],
)
def test_a_wrong_declaration_is_told_with_its_place(package, request, text, said):
    name = f"rooms_{request.node.callspec.indices['text']}"
    with pytest.raises(ValueError, match=said) as caught:
        discover([package(name, one=text)])
    assert "\n" not in str(caught.value)


def test_a_package_that_does_not_exist():
    for name in ("shapley.nothing", "nothing.baselines", "shapley.game.baselines"):
        with pytest.raises(ModuleNotFoundError, match="no package"):
            discover([name])


def test_what_is_declared_is_what_is_listed():
    declared = {
        (module.__name__, constant): value
        for package in (shapley.baselines, decoder.baselines, surrogate.baselines)
        for info in iter_modules(package.__path__)
        for module in [importlib.import_module(f"{package.__name__}.{info.name}")]
        for constant, value in vars(module).items()
        if isinstance(value, Method)
    }
    assert len(declared) == len(BASELINES)
    for listed in BASELINES:
        assert isinstance(listed.run, Deferred)
        own = declared[listed.run.module, listed.run.constant]
        for field in fields(Method):
            one, other = getattr(listed, field.name), getattr(own, field.name)
            if not isinstance(one, Deferred):
                assert one == other, (listed.name, field.name)
            else:
                assert callable(other), (listed.name, field.name)


def test_every_search_is_compared_with_four():
    names = ["greedy", "single ablation", "Block Influence", "reverse order"]
    assert [method.name for method in DEFAULTS] == names
    assert [method.name for method in BASELINES[:4]] == names
    assert all(method.kind == "selects sets" for method in DEFAULTS)


def test_the_list_imports_no_framework():
    code = (
        "import sys; from layershap.methods.catalog import BASELINES; "
        "print(len(BASELINES), {'torch', 'jax', 'transformers', 'ray'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [str(len(BASELINES)), "set()"]
