"""Verification: texts apart and together, tasks, baselines of both files, merged models."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from cluster import Column, Ledger
from decoder import find_stack
from decoder.surgery.apply import applied
from decoder.surgery.edit import Merge, Remove
from layershap.demo.corpus import documents
from layershap.errors import UserError
from layershap.results.baseline_sets import BASELINE_SETS, BaselineSets, MethodSets
from layershap.results.candidates import CANDIDATES, Candidates, CandidateSet
from layershap.runs.config import RunConfig
from layershap.runs.config_file import checked_config, read_config
from layershap.runs.directory import RunDirectory
from layershap.runs.recorded import HELDOUT
from layershap.runs.texts import TextPart
from layershap.runs.workspace import open_workspace
from layershap.stages.contenders import Variant
from layershap.stages.heldout import HeldOut
from layershap.stages.timing import measure_sizes
from layershap.terminal.console import Console
from sampling import stream
from shapley.uncertainty.paired import matched_interval, paired_interval
from tests.support.command_line import call

MERGES = [[1, [2]]]
BEST = ((1, (3,)), (2, (1, 3)))


def method(sets, merges=None):
    """What `baselines.json` holds of a method."""
    utilities = dict.fromkeys(sets, -3.0)
    return MethodSets("a paper", 10, 100, None, 1.0, sets, utilities, merges)


def items(path, count=24):
    """A task whose items are random words, a third of them right by chance."""
    rng = stream(0, "verification items")
    words = ["table", "river", "number", "list", "string", "value"]
    lines = [
        {
            "query": f"the {rng.choice(words)} of",
            "choices": rng.permutation(words)[:3].tolist(),
            "gold": int(rng.integers(3)),
        }
        for _ in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def verified(checkpoint, tmp_path_factory, ray_address):
    """A run whose search and baselines are given by hand, after `layershap verify RUN`."""
    model, text = checkpoint
    folder = tmp_path_factory.mktemp("verified")
    for name, document in zip("ab", documents("heldout"), strict=False):
        (folder / f"{name}.txt").write_text(document.text[:4000])
    config = checked_config(
        {
            "model": str(model),
            "calibration": [str(text)],
            "heldout": [str(folder / "a.txt"), str(folder / "b.txt")],
            "utility": ["nll", f"choices:{items(folder / 'words.jsonl')}"],
            "items": 10,
            "heldout_items": 14,
            "count": "1-2",
            "sequences": 2,
            "heldout_sequences": 7,
            "sequence_length": 32,
            "speed_rounds": 1,
            "workers": 1,
        },
        "",
    )
    directory = RunDirectory(folder / "run")
    directory.create()
    directory.write_config(config)
    with open_workspace(config, directory, Console(quiet=True)) as work:
        fingerprint = work.campaign("calibration").fingerprint
    sets = {count: (CandidateSet(removed, -3.0, 0.1, None, "beam"),) for count, removed in BEST}
    heuristics = {"greedy": {1: (3,), 2: (3, 4)}, "reverse order": {1: (4,), 2: (3, 4)}}
    CANDIDATES.write(
        directory.path,
        Candidates(fingerprint, 20, 20, 0, False, True, {1: 0.0, 2: 0.0}, (), sets, heuristics),
    )
    published = {
        "greedy": method({1: (2,), 2: (2, 3), 3: (2, 3, 4)}),
        "LaCo": method({1: (2,)}, {1: ((1, (2,)),)}),
    }
    BASELINE_SETS.write(directory.path, BaselineSets(fingerprint, published))
    status, _, err = call("verify", directory.path)
    assert status == 0, err
    return directory, json.loads(directory.recommendations.read_text())


def losses(model, tokens):
    """Mean loss of each sequence by the stock model."""
    ids = torch.from_numpy(tokens)
    with torch.inference_mode():
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1].flatten(0, 1)
        flat = torch.nn.functional.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none")
    return flat.view(len(ids), -1).mean(1).double().numpy()


@pytest.fixture(scope="module")
def stock(verified, checkpoint):
    """Losses of the whole model and of smaller ones, measured without this project's evaluator."""
    directory, _ = verified
    with open_workspace(read_config(directory.config), directory, Console(quiet=True)) as work:
        texts = work.texts
    model = AutoModelForCausalLM.from_pretrained(checkpoint[0]).eval()
    tokens = texts.heldout.tokens
    found: dict[object, np.ndarray] = {(): losses(model, tokens)}
    for removed in ((3,), (1, 3), (2,), (2, 3), (4,), (3, 4)):
        with applied(model, map(Remove, removed)):
            found[removed] = losses(model, tokens)
    with applied(model, [Merge(1, (2,))]):
        found["merged"] = losses(model, tokens)
    return texts, found


def with_heldout(config, files):
    """The same run with other held-out text."""
    return config.model_copy(update={"text": config.text.model_copy(update={"heldout": files})})


def test_costs_are_the_stock_models(verified, stock):
    _, content = verified
    _, found = stock
    for item in content["recommendations"]:
        for entry in (item, *item["baselines"]):
            key = "merged" if entry.get("merges") else tuple(entry["removed"])
            expected = paired_interval(found[key] - found[()], np.ones(7))
            names = ("difference", "difference_lower", "difference_upper")
            assert [entry[name] for name in names] == pytest.approx(expected, abs=2e-5)
            assert entry["nll"] == pytest.approx(found[key].mean(), abs=2e-5)


def test_texts_are_told_apart_and_share_the_sequences(verified, stock):
    directory, content = verified
    texts, found = stock
    assert [(part.name, part.first, part.stop) for part in texts.heldout_parts] == [
        ("a.txt", 0, 4), ("b.txt", 4, 7),
    ]  # fmt: skip
    assert content["text"] == "a.txt, b.txt"
    for item in content["recommendations"]:
        apart = found[tuple(item["removed"])] - found[()]
        for text, rows in zip(item["texts"], (slice(0, 4), slice(4, 7)), strict=True):
            expected = paired_interval(apart[rows], np.ones(rows.stop - rows.start))
            assert [text[k] for k in ("difference", "lower", "upper")] == pytest.approx(
                expected, abs=2e-5
            )
            assert text["tokens"] == 31 * (rows.stop - rows.start)
        weights = [text["tokens"] for text in item["texts"]]
        costs = [text["difference"] for text in item["texts"]]
        assert np.average(costs, weights=weights) == pytest.approx(item["difference"], abs=1e-6)
    single = with_heldout(read_config(directory.config), ())
    with open_workspace(single, directory, Console(quiet=True)) as work:
        (part,) = work.texts.heldout_parts
        assert (part.first, part.stop) == (0, len(work.texts.heldout.tokens))


def test_a_text_given_twice_is_refused(verified):
    directory, _ = verified
    config = read_config(directory.config)
    twice = with_heldout(config, config.text.heldout[:1] * 2)
    with (
        open_workspace(twice, directory, Console(quiet=True)) as work,
        pytest.raises(UserError, match="is given twice"),
    ):
        _ = work.texts


def test_baselines_of_both_files_stand_beside_each_count(verified):
    _, content = verified
    one, two = content["recommendations"]
    sets = {b["method"]: (b["removed"], b["names"], b["merges"]) for b in one["baselines"]}
    assert sets == {
        "greedy": ([2], "2", None), "reverse order": ([4], "4", None), "LaCo": ([2], "2", MERGES),
    }  # fmt: skip
    assert {b["method"]: b["removed"] for b in two["baselines"]} == {
        "greedy": [2, 3], "reverse order": [3, 4],
    }  # fmt: skip
    saved = {b["parameters_saved"] for item in (one,) for b in item["baselines"]}
    assert saved == {one["parameters_saved"]}
    assert two["parameters_saved"] == 2 * one["parameters_saved"]
    for entry in (*one["baselines"], one, content["dense"]):
        assert entry["speed"]["decode"] > 0
        assert entry["speed"]["parameter_bytes"] > 0


def test_the_best_baseline_is_the_one_of_least_loss_and_the_interval_is_paired(verified, stock):
    _, content = verified
    _, found = stock
    for item in content["recommendations"]:
        best = min(item["baselines"], key=lambda b: b["nll"])
        against = item["against_best"]
        assert (against["method"], against["removed"]) == (best["method"], best["removed"])
        key = "merged" if best["merges"] else tuple(best["removed"])
        expected = paired_interval(found[tuple(item["removed"])] - found[key], np.ones(7))
        names = ("difference", "lower", "upper")
        assert [against[name] for name in names] == pytest.approx(expected, abs=4e-5)


def test_tasks_are_compared_item_by_item(verified):
    directory, content = verified
    with Ledger(directory.ledger, readonly=True) as ledger:
        campaign = ledger.campaign(HELDOUT)
        for item in content["recommendations"]:
            rows = np.ones((2, 5), dtype=bool)
            rows[1, item["removed"]] = False
            metrics = campaign.read(rows).metrics
            assert set(item["tasks"]) == {"words.acc", "words.acc_norm", "words.margin"}
            for name, task in item["tasks"].items():
                whole, own = metrics[name].astype(float)
                assert 10 <= len(own) <= 14
                assert task["value"] == pytest.approx(own.mean())
                assert task["difference"] == pytest.approx(own.mean() - whole.mean())
                assert task["lower"] < task["upper"]
    assert content["dense"]["tasks"]["words.acc"]["difference"] == 0


def test_a_recommendation_comes_of_it(verified):
    directory, content = verified
    status, out, err = call("recommend", directory.path, "--max-loss", "9")
    assert status == 0, err
    sets = [item["names"] for item in content["recommendations"]]
    sets += [b["names"] for item in content["recommendations"] for b in item["baselines"]]
    assert out.split(":")[0].removeprefix("remove ") in sets
    assert "decoding" in out


def test_measurements_of_another_run_are_left_out(verified, tmp_path):
    directory, _ = verified
    shutil.copytree(directory.path, tmp_path / "run")
    copy = RunDirectory(tmp_path / "run")
    content = json.loads(copy.baselines.read_text())
    copy.baselines.write_text(json.dumps(content | {"fingerprint": "other"}))
    status, _, err = call("verify", copy.path)
    assert status == 0, err
    assert "belongs to other measurements" in err
    found = json.loads(copy.recommendations.read_text())["recommendations"]
    assert {b["method"] for b in found[0]["baselines"]} == {"greedy", "reverse order"}
    copy.baselines.write_text("{")
    status, _, err = call("verify", copy.path)
    assert status == 2
    assert "baselines.json: damaged" in err


PART = Variant((3,))


def held_out(cost_a, cost_b, right, *, sequences=40, count=200):
    """Two texts whose losses rise by so much, and a task on which so many items stay right."""
    rng = stream(0, "synthetic held-out text")
    whole = 3 + rng.random(2 * sequences)
    noise = 0.002 * rng.standard_normal(2 * sequences)
    rise = np.repeat([cost_a, cost_b], sequences) + noise
    before = np.repeat([1.0, 0.0], [count * 3 // 4, count - count * 3 // 4])
    after = np.where(np.arange(count) < right, 1.0, 0.0)
    ones, tokens = np.ones(2 * sequences), (31,) * (2 * sequences)
    metrics = {
        Variant(): {"nll": whole, "kl": 0 * ones, "top1": ones, "piqa.acc": before},
        PART: {"nll": whole + rise, "kl": ones, "top1": 0 * ones, "piqa.acc": after},
    }
    columns = {name: Column(name, tokens, -1) for name in ("nll", "kl", "top1")}
    columns["piqa.acc"] = Column("piqa.acc", (1,) * count)
    parts = (TextPart("books", 0, sequences), TextPart("code", sequences, 2 * sequences))
    return HeldOut(metrics, columns, parts)


@pytest.mark.parametrize(
    ("costs", "right", "said"),
    [
        ((0.01, 0.01), 150, []),
        ((0.01, 0.01), 148, []),
        ((0.01, 0.01), 120, ["accuracy on piqa (acc) falls from 75.0 % to 60.0 %"]),
        ((0.0, 0.15), 150, ["on code alone perplexity rises by 16."]),
        ((0.0, 0.15), 100, ["on code alone", "falls from 75.0 % to 50.0 %"]),
        ((0.3, 0.3), 100, []),
    ],
)
def test_what_perplexity_hides_is_said(costs, right, said):
    found = held_out(costs[0], costs[1], right).warnings(PART)
    assert len(found) == len(said)
    assert all(part in sentence for part, sentence in zip(said, found, strict=True))


def test_numbers_that_are_not_finite_have_no_interval_and_raise_nothing():
    found = held_out(0.01, 0.01, 150)
    nll = found.metrics[PART]["nll"]
    nll[3] = np.inf
    facts = found.quality(PART)
    assert np.isnan([facts["nll"], facts["difference"], facts["difference_lower"]]).all()
    assert np.isnan(found.difference(PART, PART)).all()
    assert found.warnings(PART) == []


def test_intervals_of_matched_accuracies():
    """Agresti & Min's adjusted Wald interval, worked out by hand: b = 8, c = 2 of 50 items."""
    first = np.repeat([1.0, 0.0, 1.0, 0.0], [20, 20, 8, 2])
    second = np.repeat([1.0, 0.0, 0.0, 1.0], [20, 20, 8, 2])
    difference, lower, upper = matched_interval(first, second)
    assert difference == pytest.approx(6 / 50)
    half = 1.959964 * np.sqrt(11 - 36 / 52) / 52
    assert (lower, upper) == pytest.approx((6 / 52 - half, 6 / 52 + half), abs=1e-6)
    same = matched_interval(first, first)
    assert same[0] == 0
    assert same[1] == -same[2] < -0.01, "no difference in 50 items is no proof of none"
    assert np.isnan(matched_interval(np.array([np.nan, 1.0]), np.ones(2))).all()


@pytest.mark.parametrize("size", [12, 60])
def test_intervals_of_matched_accuracies_cover(size):
    rng = stream(1, "coverage of matched intervals", size)
    chances = [0.55, 0.25, 0.15, 0.05]  # both right, both wrong, only the first, only the second
    held = 0
    for _ in range(1500):
        cells = rng.choice(4, size=size, p=chances)
        ends = matched_interval(np.isin(cells, [0, 2]) * 1.0, np.isin(cells, [0, 3]) * 1.0)
        held += ends[1] <= 0.10 <= ends[2]
    assert 0.93 <= held / 1500 <= 0.99


def test_sizes_are_those_of_the_exported_checkpoint(verified, tmp_path):
    directory, content = verified
    for item in content["recommendations"]:
        where = tmp_path / item["names"].replace(",", "-")
        arguments = ("--remove", item["names"], "--to", where)
        status, _, err = call("export", directory.path, *arguments)
        assert status == 0, err
        left = AutoModelForCausalLM.from_pretrained(where).num_parameters()
        assert left == content["dense"]["parameters"] - item["parameters_saved"]
        assert left == item["speed"]["parameters"]


def test_a_merged_model_is_exported_as_it_was_measured(verified, stock, tmp_path):
    directory, content = verified
    texts, found = stock
    arguments = ("--count", 1, "--method", "laco", "--to", tmp_path / "small")
    status, out, err = call("export", directory.path, *arguments)
    assert status == 0, err
    assert "merged: L2 into L1" in out
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "small").eval()
    np.testing.assert_allclose(losses(model, texts.heldout.tokens), found["merged"], atol=2e-5)
    facts = json.loads((tmp_path / "small" / "layershap.json").read_text())
    rivals = content["recommendations"][0]["baselines"]
    nll = next(rival["nll"] for rival in rivals if rival["merges"])
    assert facts["measured"]["this"]["nll"] == nll
    assert f"{nll:.3f}" in (tmp_path / "small" / "README.md").read_text()


def test_halves_that_share_a_layer_are_saved_and_lone_ones_are_not(checkpoint, tmp_path):
    model, text = checkpoint
    config = RunConfig.of(
        model=str(model), calibration=(str(text),), players="sublayers", speed_rounds=1
    )
    directory = RunDirectory(tmp_path / "halves")
    # L1's MLP and L2's attention, so that L1's attention and L2's MLP are one layer; L3's MLP.
    pair, lone, both = Variant((3, 4)), Variant((7,)), Variant((6, 7))
    with open_workspace(config, directory, Console(quiet=True)) as work:
        found = measure_sizes(work, [Variant(), pair, lone, both])
        sizes = [
            sum(p.numel() for p in layer.parameters()) for layer in find_stack(work.model).layers
        ]
    saved = [found[variant].parameters_saved for variant in (Variant(), pair, lone, both)]
    assert saved == [0, sizes[1], 0, sizes[3]]
    timed = {variant: size.speed for variant, size in found.items()}
    assert all(speed is not None for speed in timed.values())
    parameters = {variant: speed.parameters for variant, speed in timed.items() if speed}
    assert parameters[pair] == parameters[both]
    assert parameters[lone] == parameters[Variant()]
