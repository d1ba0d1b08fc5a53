"""`layershap evaluate`: files as tasks, the harness' scores, paired differences, bad input."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest
import torch

from decoder import ModelSpec, load_model, load_tokenizer
from decoder.surgery.apply import applied
from decoder.surgery.edit import Remove
from layershap.demo import MODEL_DIRECTORY
from layershap.harness.local_tasks import read_task
from layershap.harness.scores import read_scores
from tests.support.command_line import call

TEXT = "".join(
    f"def area_{i}(width, height):\n    return width * height + {i}\n\n" for i in range(120)
)
CHOICES = [
    {"query": f"import {name}\nprint(", "choices": [f"{name})", "zebra of", "8 +"], "gold": i % 3}
    for i, name in enumerate(["sys", "json", "math", "re", "time", "random"])
]
CONTINUATIONS = [
    {"context": f"for {name} in range(10):\n    print(", "continuation": f"{name})"}
    for name in ["i", "index", "number", "x"]
] + [{"context": "if value is", "continuation": "None"}]


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "text.txt").write_text(TEXT, "utf-8")
    return {
        "choices": lines(folder / "imports.jsonl", CHOICES),
        "words": lines(folder / "words.jsonl", CONTINUATIONS),
        "text": folder / "text.txt",
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The embedded model without its last seven layers, as a checkpoint."""
    path = tmp_path_factory.mktemp("small") / "model"
    spec = ModelSpec(str(MODEL_DIRECTORY))
    model = load_model(spec)
    with applied(model, map(Remove, range(5, 12))):
        model.save_pretrained(path)
    load_tokenizer(spec).save_pretrained(path)
    return path


def log_likelihood(path, context, continuation):
    """Natural log-likelihood of a continuation, in the plainest way."""
    spec = ModelSpec(str(path))
    model, tokenizer = load_model(spec), load_tokenizer(spec)
    start = tokenizer(context)["input_ids"]
    ids = torch.tensor([tokenizer(context + continuation)["input_ids"]])
    assert ids[0, : len(start)].tolist() == start
    logprobs = model(ids).logits[0, :-1].log_softmax(-1)
    rows = torch.arange(len(start) - 1, ids.shape[1] - 1)
    return float(logprobs[rows, ids[0, rows + 1]].sum())


def test_files_are_told_apart_by_what_they_hold(files, tmp_path):
    kinds = {name: read_task(path).kind for name, path in files.items()}
    assert kinds == {"choices": "choices", "words": "continuation", "text": "text"}
    assert read_task(lines(tmp_path / "t.jsonl", [{"text": "a b"}])).kind == "text"


def test_a_space_parts_words_only_where_none_is(files):
    task = read_task(files["words"])
    assert [item["continuation"] for item in task.items] == [
        " i)", " index)", " number)", " x)", " None",
    ]  # fmt: skip


def test_a_text_is_cut_into_pieces_that_make_it_up(files):
    items = read_task(files["text"]).items
    assert "".join(item["text"] for item in items) == TEXT
    assert len(items) > 1
    assert all(item["text"].endswith("\n") for item in items)


def test_items_longer_than_the_context_are_left_out(tmp_path):
    tokenizer = load_tokenizer(ModelSpec(str(MODEL_DIRECTORY)))
    long = {"query": "a", "choices": ["b", "word " * 50], "gold": 0}
    task = read_task(lines(tmp_path / "a.jsonl", [*CHOICES, long]))
    assert len(task.fitting(tokenizer, 32).items) == len(CHOICES)
    long = {"context": "a", "continuation": "word " * 50}
    task = read_task(lines(tmp_path / "b.jsonl", [long, *CONTINUATIONS]))
    assert [i["context"] for i in task.fitting(tokenizer, 32).items] == [
        i["context"] for i in CONTINUATIONS
    ]
    with pytest.raises(ValueError, match="no item fits the model's context of 8 tokens"):
        read_task(lines(tmp_path / "c.jsonl", [long])).fitting(tokenizer, 8)


def results(samples, **metrics):
    """What the harness returns for one task "t"."""
    return {
        "results": {"t": {"alias": "t", **{f"{k},none": v for k, v in metrics.items()}}},
        "higher_is_better": {"t": {}},
        "n-samples": {"t": {"effective": len(samples)}},
        "samples": {
            "t": [{"doc_id": i, "filter": "none", **s} for i, s in reversed([*enumerate(samples)])]
        },
    }


def test_differences_are_on_the_scale_on_which_the_score_is_a_mean():
    rng = np.random.default_rng(0)
    weights = rng.integers(5, 50, 40)
    first, second = -weights * rng.uniform(1, 2, (2, 40))

    def perplexities(logs):
        nats = -logs.sum() / weights.sum()
        return results(
            [
                {"p": (float(x), int(w)), "b": (float(x), int(w)), "a": float(x), "m": "text"}
                for x, w in zip(logs, weights, strict=True)
            ],
            p=math.exp(nats), b=nats / math.log(2), a=float(logs.mean()), m=1.0,
        )  # fmt: skip

    found = {s.metric: s for s in read_scores(perplexities(first), perplexities(second))}
    nats = -(first - second).sum() / weights.sum()
    for metric, scale, wanted in (
        ("p", "log ratio", nats),
        ("b", "difference", nats / math.log(2)),
        ("a", "difference", (first - second).mean()),
    ):
        difference = found[metric].difference
        assert difference is not None
        assert difference.scale == scale
        assert difference.mean == pytest.approx(wanted)
        assert difference.lower < difference.mean < difference.upper
    assert math.log(found["p"].value / (found["p"].against or 0)) == pytest.approx(nats)
    assert found["m"].difference is None, "it is no mean of its items"


def test_agreement_on_every_item_still_has_an_interval():
    right = results([{"acc": 1.0}] * 20, acc=1.0)
    (score,) = read_scores(right, right)
    assert score.difference is not None
    assert score.difference.mean == 0
    assert score.difference.lower < 0 < score.difference.upper


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"text": "a"}\n{"text": \n', "line 2: not valid JSON"),
        ("a.jsonl", '{"text": "a"}\n{"other": 1}\n', "line 2: text must be a string"),
        ("a.jsonl", '{"context": "a", "continuation": " "}\n', "line 1: continuation is empty"),
        ("a.jsonl", '{"question": "a"}\n', "line 1: none of the known formats"),
        ("a.jsonl", "[1]\n", "line 1: not an object"),
        ("a.jsonl", '{"query": "a", "choices": ["b", "c"], "gold": 0}\n{"query": 1}\n', "line 2"),
        ("a.txt", " \n", "holds nothing"),
        ("a.txt", b"\xff\xfe\x00", "not UTF-8"),
        ("gone.jsonl", None, "cannot be read (No such file or directory)"),
    ],
)
def test_bad_files_are_one_line(name, content, said, tmp_path):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    status, out, err = call("evaluate", MODEL_DIRECTORY, "--task", path)
    assert (status, out) == (2, "")
    assert said in err
    assert str(path) in err
    assert err.count("\n") == 1


def test_without_the_harness_the_command_to_install_it_is_named(monkeypatch, files):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    status, out, err = call("evaluate", MODEL_DIRECTORY, "--task", files["text"])
    assert (status, out) == (2, "")
    assert "pip install 'layershap[evaluate]'" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--batch-size", "none"), "--batch-size none"),
        (("--output", "/nowhere/at/all.json"), "--output /nowhere/at/all.json"),
    ],
)
def test_bad_options_are_one_line(arguments, said, files):
    status, _, err = call("evaluate", MODEL_DIRECTORY, "--task", files["text"], *arguments)
    assert status == 2
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_scores_are_right_and_differences_paired(small, files, tmp_path):
    pytest.importorskip("lm_eval")
    from benchmarks.choices_harness import ours

    written = tmp_path / "scores.json"
    status, out, err = call(
        "evaluate", small, "--against", MODEL_DIRECTORY, "--json", "--output", written,
        *(part for path in files.values() for part in ("--task", path)),
    )  # fmt: skip
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert json.loads(written.read_text("utf-8")) == found
    scores = {(s["task"], s["metric"]): s for s in found["scores"]}
    for path, key in ((small, "value"), (MODEL_DIRECTORY, "against")):
        own = ours(path, {"imports": files["choices"]})["imports"]
        assert scores["imports", "acc"][key] == own["acc"]
        assert scores["imports", "acc_norm"][key] == own["acc_norm"]
    logs = np.array(
        [
            [log_likelihood(path, i["context"], i["continuation"]) for i in items]
            for path in (small, MODEL_DIRECTORY)
            for items in [read_task(files["words"]).items]
        ]
    )
    words = scores["words", "perplexity"]
    assert math.log(words["value"]) == pytest.approx(-logs[0].mean(), abs=1e-3)
    assert math.log(words["against"]) == pytest.approx(-logs[1].mean(), abs=1e-3)
    assert words["difference"]["mean"] == pytest.approx((logs[1] - logs[0]).mean(), abs=1e-3)
    text = scores["text", "bits_per_byte"]
    assert text["items"] == len(read_task(files["text"]).items)
    assert text["difference"]["lower"] > 0, "five layers of twelve must be worse"
    assert text["difference"]["mean"] == pytest.approx(text["value"] - text["against"])


@pytest.mark.slow
def test_a_limit_and_a_table(small, files):
    pytest.importorskip("lm_eval")
    status, out, err = call("evaluate", small, "--task", files["choices"], "--limit", 3)
    assert (status, err) == (0, "")
    assert "imports" in out
    assert "acc_norm" in out
    assert "against" not in out


@pytest.mark.slow
def test_unknown_tasks_are_one_line_with_the_nearest_names():
    pytest.importorskip("lm_eval")
    status, _, err = call("evaluate", MODEL_DIRECTORY, "--task", "hellaswagg")
    assert status == 2
    assert "the nearest names are hellaswag" in err
    assert err.count("\n") == 1


def test_no_model_is_one_line(files, tmp_path):
    pytest.importorskip("lm_eval")
    status, _, err = call("evaluate", tmp_path / "gone", "--task", files["text"])
    assert status == 2
    assert "no such directory" in err
    assert err.count("\n") == 1
