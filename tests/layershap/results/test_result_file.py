"""Results are read as their types or refused in one line, and nowhere by their keys."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import layershap
from layershap.errors import UserError
from layershap.results.result_file import SCHEMA, NotThereYet
from tests.support.result_files import FILES, OLD

ROOM = Path(layershap.__file__).parent
NAMES = {file.name.rpartition("/")[2] for file in FILES}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
class TestReading:
    def test_what_is_not_there_names_the_stage(self, file, tmp_path):
        with pytest.raises(NotThereYet, match=f"run layershap {file.stage} "):
            file.read(tmp_path)
        assert file.found(tmp_path) is None

    def test_a_later_version_is_refused_by_name(self, file, tmp_path):
        content = json.loads(file.path(OLD).read_text()) | {"schema": SCHEMA + 1}
        self.put(file, tmp_path, json.dumps(content))
        with pytest.raises(UserError, match="later version of layershap"):
            file.read(tmp_path)

    @pytest.mark.parametrize("text", ["", "{", "null", "[]", "3", '"x"', "[" * 5000, "9" * 5000])
    def test_what_is_no_such_file_is_one_line(self, file, text, tmp_path):
        self.put(file, tmp_path, text)
        with pytest.raises(UserError, match="damaged") as caught:
            file.read(tmp_path)
        assert "\n" not in str(caught.value)

    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(data=st.data())
    def test_any_other_value_anywhere_is_one_line_or_a_result(self, file, tmp_path, data):
        content = json.loads(file.path(OLD).read_text())
        above: dict | list = content
        while True:
            key = (
                data.draw(st.sampled_from(sorted(above)))
                if isinstance(above, dict)
                else data.draw(st.integers(0, len(above) - 1))
            )
            below = above[key]
            if not isinstance(below, dict | list) or not below or data.draw(st.booleans()):
                break
            above = below
        above[key] = data.draw(JSON)
        self.put(file, tmp_path, json.dumps(content))
        try:
            file.read(tmp_path)
            line = ""
        except UserError as error:
            line = str(error)
        assert not line or f"run layershap {file.stage}" in line
        assert "\n" not in line

    @staticmethod
    def put(file, run, text):
        file.path(run).parent.mkdir(exist_ok=True)
        file.path(run).write_text(text)


def test_no_stage_file_is_read_anywhere_else():
    """The files' names stand in layershap.results alone, and nobody else decodes JSON of a run."""
    for path in sorted(ROOM.rglob("*.py")):
        if path.is_relative_to(ROOM / "results"):
            continue
        strings = {
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not strings & NAMES, path
        for key in ("recommendations", "sets", "shapley", "rounds", "methods"):
            read = f'["{key}"]'
            assert read not in path.read_text(), (path, read)


def test_results_need_no_framework():
    import subprocess
    import sys

    code = (
        "import sys\n"
        "import layershap.results.recommendations, layershap.results.values\n"
        "import layershap.results.candidates, layershap.results.frontier\n"
        "assert not {'torch', 'jax', 'ray'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
