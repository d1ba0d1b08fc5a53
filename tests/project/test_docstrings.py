"""Public functions of several parameters say what each of them is."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = (
    "sampling",
    "shapley",
    "surrogate",
    "cluster",
    "decoder/model",
    "decoder/data",
    "decoder/checkpoint",
    "decoder/evaluate",
    "decoder/cost",
    "decoder/training",
)
FEWEST = 3


def undocumented(source: str):
    """Names of public functions of three or more parameters without an Args section."""

    def inside(body, prefix=""):
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from inside(node.body, f"{node.name}.")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if node.name.startswith("_"):
                    continue
                named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                names = [one.arg for one in named if one.arg not in ("self", "cls")]
                if len(names) >= FEWEST and "Args:" not in (ast.get_docstring(node) or ""):
                    yield prefix + node.name

    return list(inside(ast.parse(source).body))


def test_a_function_without_args_is_found():
    assert undocumented("def f(a, b, c):\n    'Does it.'") == ["f"]
    assert undocumented("def f(a, b):\n    'Does it.'\ndef _g(a, b, c): ...") == []
    assert undocumented("class A:\n    def f(self, a, b, c):\n        'Does.'") == ["A.f"]
    assert undocumented("def f(a, b, c):\n    '''Does.\n\n    Args:\n        a: x.\n    '''") == []


@pytest.mark.parametrize("room", ROOMS)
def test_functions_of_three_parameters_describe_them(room):
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    lacking = [
        f"{path.relative_to(ROOT)}:{name}"
        for path in files
        for name in undocumented(path.read_text("utf-8"))
    ]
    assert lacking == []
