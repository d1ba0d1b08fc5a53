"""Repaired smaller models from Python: what the command line writes, and what stock code loads."""

from __future__ import annotations

import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM

import layershap
from layershap.errors import UserError
from layershap.results.recommendations import RECOMMENDATIONS

IDS = torch.arange(2, 34).reshape(2, 16)


@pytest.fixture
def run(finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "run")
    return layershap.open(tmp_path / "run")


def logits(model):
    with torch.inference_mode():
        return model.eval()(input_ids=IDS, use_cache=False).logits


def test_a_repair_is_kept_exported_and_loaded(run, tmp_path):
    item = RECOMMENDATIONS.read(run.path).recommendations[0]
    found = run.repair(item.names, method="sequential", tokens=1600, progress=False)
    assert found.removed == item.removed
    assert {one.method for one in found.tried} == {"none", "sequential"}
    assert RECOMMENDATIONS.read(run.path).recommendations[0].repair == found.cost
    row = run.recommendations.iloc[0]
    assert (row["repaired"], row["repair"]) == (found.cost.difference, found.cost.method)
    done = run.export(item.names, to=tmp_path / "small", repair=True, progress=False)
    wanted = logits(AutoModelForCausalLM.from_pretrained(done.path))
    for loaded in (
        run.load(item.names, repair="sequential", progress=False),
        layershap.load(done.path),
    ):
        torch.testing.assert_close(logits(loaded), wanted)
    plain = logits(run.load(item.names, progress=False))
    assert ((plain - wanted).abs().max() > 1e-4) == (found.cost.method != "none")


def test_matrices_at_cuts_only_where_they_are_allowed(run, tmp_path):
    with pytest.raises(UserError, match=r"^repair boundary: its matrices .* add --module"):
        run.load([2], repair="boundary", progress=False)
    run.repair([2], method="boundary", tokens=1600, progress=False)
    done = run.export([2], to=tmp_path / "m", repair="boundary", module=True, progress=False)
    with_matrices = logits(layershap.load(done.path))
    assert not torch.allclose(
        with_matrices, logits(AutoModelForCausalLM.from_pretrained(done.path))
    )
    again = run.load([2], repair="boundary", module=True, progress=False)
    torch.testing.assert_close(logits(again), with_matrices)


def test_bad_input_names_the_argument(run):
    with pytest.raises(UserError, match=r"^module: allows what repair fits"):
        run.load([2], module=True, progress=False)
    with pytest.raises(UserError, match=r"^method rotaton: unknown; choose rotation"):
        run.repair([2], method="rotaton", progress=False)
    with pytest.raises(UserError, match="nowhere: is not there; name the directory"):
        layershap.load("nowhere")
    with pytest.raises(UserError, match="one set"):
        run.repair([[2], [3]], progress=False)
    with pytest.raises(UserError, match=r"^tokens 40: that is 1 x 32 tokens"):
        run.repair([2], tokens=40, progress=False)
