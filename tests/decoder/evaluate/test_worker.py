"""One measurement, whichever way the model is walked, stored or divided among memory."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from decoder import (
    MaskedModel,
    MeasureOptions,
    ModelError,
    ModelSpec,
    TokenText,
    Workload,
    build_evaluator,
    count_layer_evaluations,
    make_roster,
)
from decoder.evaluate import worker
from decoder.evaluate.memory import is_out_of_memory, peak_bytes
from decoder.evaluate.walk_plan import WalkPlan
from sampling import enumerate_all, stream
from tests.support.tiny_models import VOCABULARY, tiny_model
from tests.support.workload_samples import task, text

TOKENS = np.random.default_rng(0).integers(2, VOCABULARY, size=(3, 12))
ROSTERS = [("layers", ""), ("layers", "0,4"), ("blocks:2", ""), ("sublayers", "0,2,L4.mlp")]


def some(n, most=48):
    """Random coalitions, the whole and the empty one among them, in random order."""
    rows = enumerate_all(n)
    chosen = stream(1, "some").permutation(len(rows))[:most]
    return rows[np.unique([0, len(rows) - 1, *chosen])]


def with_plan(masked, plan):
    masked.plan = plan
    with torch.inference_mode():
        masked._prepare()
    return masked


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt_neox"])
@pytest.mark.parametrize(("kind", "protect"), ROSTERS)
def test_every_walk_gives_the_same_bits(family, kind, protect):
    model, workload = tiny_model(family), Workload(TokenText(TOKENS, "random"), (task(),))
    roster = make_roster(kind, 5, protect)
    rows = some(len(roster.names))
    deep = MaskedModel(model, workload, roster=roster, walk="depth")
    wanted = deep.measure(rows)
    prefixes = count_layer_evaluations(roster.slots_kept(rows))
    assert deep.layer_evaluations == prefixes * deep.batches
    for plan in (
        WalkPlan(True, 2048, stack=4, chunk=1000),
        WalkPlan(True, 2048, stack=1, chunk=7),
        WalkPlan(True, 2048, stack=3, chunk=5, carry=True),
    ):
        wide = with_plan(MaskedModel(model, workload, roster=roster), plan)
        found = wide.measure(rows)
        for name, values in wanted.items():
            # The toy task scores one to six tokens at a time, for which matrix products take
            # other ways than for many.
            limit = 1e-5 if name.startswith("toy") else 0.0
            np.testing.assert_allclose(found[name], values, rtol=0, atol=limit, err_msg=name)
        assert wide.layer_evaluations == prefixes * wide.batches
    again = deep.measure(rows[::-1])
    parts = [deep.measure(rows[:9]), deep.measure(rows[9:])]
    for name, values in wanted.items():
        np.testing.assert_array_equal(again[name][::-1], values)
        np.testing.assert_array_equal(np.concatenate([p[name] for p in parts]), values)


def test_small_batches_change_rounding_only():
    model = tiny_model("llama")
    rows = some(5)
    wanted = MaskedModel(model, TOKENS).measure(rows)
    found = MaskedModel(model, TOKENS, micro_batch=12).measure(rows)
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], atol=2e-5)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_a_share_of_the_positions_is_the_mean_over_them(family):
    model = tiny_model(family)
    workload = Workload(TokenText(TOKENS, "random"), score_share=0.4)
    found = MaskedModel(model, workload).measure(enumerate_all(5)[-1:])
    log = model(input_ids=torch.from_numpy(TOKENS)).logits.double().log_softmax(-1)
    for row, places in enumerate(workload.scored_places()):
        assert len(places) == round(0.4 * 11)
        wanted = -log[row, places, TOKENS[row, places + 1]].mean()
        assert found["nll"][0, row] == pytest.approx(float(wanted), abs=1e-5)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_choices_are_scored_like_plain_forwards_one_by_one(family):
    model, toy = tiny_model(family), task()
    masked = MaskedModel(model, Workload(text(), (toy,)))
    rows = enumerate_all(5)[[-1, -2]]
    found, loglik = masked.measure(rows), masked.log_likelihoods(rows)["toy"]
    for number, (row, count) in enumerate(zip(toy.rows, toy.continuations, strict=True)):
        ids = torch.from_numpy(row)[None]
        log = model(input_ids=ids[:, :-1]).logits[0].double().log_softmax(-1)
        wanted = log.gather(1, ids[0, 1:, None])[-count:].sum()
        assert loglik[0, number] == pytest.approx(float(wanted), abs=1e-4)
    for name, values in toy.score(loglik).items():
        np.testing.assert_array_equal(found[name], values)


@pytest.fixture
def checkpoint(tmp_path):
    def saved(family):
        tiny_model(family).save_pretrained(tmp_path / family)
        return ModelSpec(str(tmp_path / family), device="cpu")

    return saved


@pytest.mark.parametrize("family", ["llama", "gemma2", "falcon-new", "qwen3_moe"])
@pytest.mark.parametrize(("kind", "protect"), ROSTERS)
def test_layers_brought_in_one_at_a_time_give_the_same_bits(
    checkpoint, monkeypatch, family, kind, protect
):
    spec, options = checkpoint(family), MeasureOptions(players=kind, protect=protect)
    workload = Workload(TokenText(TOKENS, "random"), (task(),))
    whole = build_evaluator(spec, workload, options)
    rows = some(len(whole.players), 12)
    wanted = whole.measure(rows)
    monkeypatch.setattr(worker, "_fits", lambda *_: False)
    streamed = build_evaluator(spec, workload, options)
    assert streamed.plan.breadth
    found = streamed.measure(rows)
    for name, values in wanted.items():
        limit = 1e-5 if name.startswith("toy") else 0.0
        np.testing.assert_allclose(found[name], values, rtol=0, atol=limit, err_msg=name)


def test_too_little_memory_for_a_layer_is_one_line(checkpoint):
    with pytest.raises(
        ModelError, match=r"--memory 0\.05: too little for a single layer.*GiB"
    ) as e:
        build_evaluator(checkpoint("llama"), Workload(text()), MeasureOptions(memory=0.05))
    assert "\n" not in str(e.value)


def test_compiling_without_a_compiler_is_one_line(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ModelError, match="--compile: needs a C\\+\\+ compiler"):
        MaskedModel(tiny_model("llama"), TOKENS, compiled=True)


def test_memory_that_runs_out_halves_the_plan_until_it_fits():
    # The real allocator refuses: the process may map little more than it has.
    code = textwrap.dedent(
        """
        import resource
        import numpy as np
        import torch
        from benchmarks.support.measuring.plain_loops import random_llama
        from decoder import MaskedModel
        from sampling import enumerate_all

        torch.set_num_threads(1)
        sizes = dict(width=128, mlp_width=512, layers=3, heads=2, vocabulary=512, context=512)
        model = random_llama(**sizes)
        tokens = np.random.default_rng(0).integers(0, 512, (64, 256))
        small = MaskedModel(model, tokens, walk="depth", micro_batch=256)
        wanted = small.measure(enumerate_all(3))
        large = MaskedModel(model, tokens, walk="depth", micro_batch=64 * 256)
        mapped = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        limit = mapped + 50 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        found = large.measure(enumerate_all(3))
        for name in wanted:
            np.testing.assert_allclose(found[name], wanted[name], atol=1e-4)
        print(large.recoveries, large.plan.tokens_a_batch)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    recoveries, tokens = map(int, done.stdout.split())
    assert recoveries >= 1
    assert tokens < 64 * 256


def test_which_errors_are_out_of_memory():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_peak_bytes_counts_what_is_held_at_once():
    ones = torch.ones(1000)
    with torch.inference_mode():
        assert peak_bytes(lambda: ones + 1) == 4000
        assert peak_bytes(lambda: ((ones + 1) * 2).sum()) == 8000
        assert peak_bytes(lambda: ones.view(10, 100)[3:]) == 0
        assert peak_bytes(lambda: torch.add(ones, 1, out=ones)) == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own making
@pytest.mark.skipif(not shutil.which("g++"), reason="compiling for a CPU needs a C++ compiler")
def test_compiled_layers_give_the_same_numbers():
    model, rows = tiny_model("llama", num_hidden_layers=2), enumerate_all(2)
    wanted = MaskedModel(model, TOKENS).measure(rows)
    found = MaskedModel(model, TOKENS, compiled=True).measure(rows)
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-4)
