"""A smaller model that stock code cannot run is a row with a reason, and ends no run."""

from __future__ import annotations

import pytest

from decoder.cost import speed
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory
from layershap.runs.workspace import open_workspace
from layershap.stages.contenders import Variant
from layershap.stages.timing import measure_sizes
from layershap.terminal.console import Console

VARIANTS = [Variant(), Variant((3,)), Variant((4, 5))]


@pytest.fixture
def sizes_when(tmp_path, monkeypatch):
    """Sizes of the variants where decoding fails with so many layers."""

    def find(depth):
        decode = speed.decode

        def failing(model, out, new_tokens):
            if model.config.num_hidden_layers == depth:
                raise IndexError("no such cache\nlayer")
            return decode(model, out, new_tokens)

        monkeypatch.setattr(speed, "decode", failing)
        config = RunConfig.of(speed_rounds=1)
        with open_workspace(config, RunDirectory(tmp_path), Console()) as work:
            found = measure_sizes(work, VARIANTS)
            assert work.model.config.num_hidden_layers == 12
            return [found[variant] for variant in VARIANTS]

    return find


def test_one_failure_is_one_row(sizes_when, capsys):
    dense, one, two = sizes_when(10)
    assert dense.speed is not None
    assert one.speed is not None
    assert two.speed is None
    assert two.untimed.endswith("decoding fails in transformers (IndexError: no such cache)")
    assert two.parameters_saved > one.parameters_saved
    assert "without 4,5 the model is not timed" in capsys.readouterr().err


def test_without_the_whole_model_there_is_nothing_to_compare_with(sizes_when):
    assert all(size.speed is None and size.untimed for size in sizes_when(12))
