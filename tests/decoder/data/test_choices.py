"""Multiple-choice items are read, parted, encoded and scored by the harness' rules."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pytest
import torch

from decoder import ModelSpec, load_model, load_tokenizer
from decoder.data.choices import (
    ChoiceItem,
    ChoiceTask,
    encode_choices,
    fitting_items,
    read_choices,
    split_items,
)
from decoder.errors import TaskError
from layershap.demo import MODEL_DIRECTORY

CONTEXT = 48
ITEMS = [
    ChoiceItem("import os\nfor name in", ("os.listdir(path):", "range(", "the:"), 0),
    ChoiceItem("The function returns a list of", ("strings", "é ← ü naïve 数"), 0),
    ChoiceItem("def add(a, b):\n    return  \n ", ("a + b", "a", " b", "None  "), 3),
    ChoiceItem("", ("import sys", "def f(x):\n    pass"), 1),
    ChoiceItem("", ("<|endoftext|>", "The"), 1),
    ChoiceItem("<|endoftext|>Return the", ("value", "<|endoftext|>"), 0),
    ChoiceItem("x = [0] * 10  # a long line of many words\n" * 9, ("x.sort()", "print(x)"), 1),
    ChoiceItem("Q", ("the quick brown fox " * 4, "A"), 1),
]


@pytest.fixture(scope="module")
def spec():
    return ModelSpec(str(MODEL_DIRECTORY), device="cpu")


@pytest.fixture(scope="module")
def tokenizer(spec):
    return load_tokenizer(spec)


@pytest.fixture(scope="module")
def logprobs(spec):
    """Log-probabilities of every next token after a row of ids, by one plain forward."""
    model = load_model(spec)

    def of(ids):
        with torch.inference_mode():
            logits_TV = model(torch.tensor([ids]), use_cache=False).logits[0]
        return logits_TV.double().log_softmax(-1).numpy()

    return of


@pytest.fixture(scope="module")
def task(tokenizer):
    return encode_choices(ITEMS, tokenizer, name="toy", source="test", context=CONTEXT)


def refused(call, *parts):
    """The call raises a TaskError of one line that holds all parts."""
    with pytest.raises(TaskError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def toy(*sizes, gold, characters=None):
    """A task of items of so many choices each, with right choices `gold`."""
    rows = sum(sizes)
    starts = np.cumsum([0, *sizes[:-1]])
    return ChoiceTask(
        name="toy",
        source="numbers",
        rows=tuple(np.array([0, i]) for i in range(rows)),
        continuations=np.ones(rows, int),
        items=np.repeat(np.arange(len(sizes)), sizes),
        gold_row=starts + gold,
        characters=np.ones(rows, int) if characters is None else np.array(characters),
    )


def expected_loglik(query, choice, ids_of, bos, logprobs):
    """Sum over the choice's tokens, each predicted from at most CONTEXT tokens before the last."""
    if query == "":
        ids = ids_of(" " + choice)
        ids, first = (ids, 1) if ids[0] == bos else ([bos, *ids], 1)
    else:
        question = ids_of(query.rstrip())
        first = len(question)
        ids = question + ids_of(f"{query} {choice}")[first:]
    drop = max(0, len(ids) - CONTEXT - 1)
    table = logprobs(ids[drop : len(ids) - 1])
    return sum(table[i - drop - 1][ids[i]] for i in range(first, len(ids)))


def test_log_likelihoods_and_scores_follow_the_rules(task, tokenizer, logprobs):
    def ids_of(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    assert max(len(ids_of(i.query)) for i in ITEMS) > CONTEXT  # the cut on the left is exercised
    found, row = [], 0
    for item in ITEMS:
        own = []
        for choice in item.choices:
            ids, count = task.rows[row].tolist(), task.continuations[row]
            assert 1 <= count < len(ids) <= CONTEXT + 1
            table = logprobs(ids[:-1])
            places = range(len(ids) - count, len(ids))
            own.append(sum(table[i - 1][ids[i]] for i in places))
            wanted = expected_loglik(item.query, choice, ids_of, tokenizer.bos_token_id, logprobs)
            assert own[-1] == pytest.approx(wanted, abs=1e-9)
            row += 1
        found.append(own)
    assert row == len(task.rows)

    scores = task.score(np.array([[value for own in found for value in own]]))
    for number, (item, own) in enumerate(zip(ITEMS, found, strict=True)):
        norm = [value / len(choice) for value, choice in zip(own, item.choices, strict=True)]
        against = [math.exp(v - own[item.gold]) for i, v in enumerate(own) if i != item.gold]
        margin = -math.log(sum(against))
        assert scores["toy.acc"][0, number] == (own.index(max(own)) == item.gold)
        assert scores["toy.acc_norm"][0, number] == (norm.index(max(norm)) == item.gold)
        assert scores["toy.margin"][0, number] == pytest.approx(margin, rel=1e-5)
    right = scores["toy.acc"].sum()
    assert 0 < right < len(ITEMS)  # both outcomes are there


def test_rows_hold_question_one_space_and_choice(task, tokenizer):
    for row, (item, choice) in enumerate((i, c) for i in ITEMS for c in i.choices):
        ids, count = task.rows[row].tolist(), int(task.continuations[row])
        space = item.query[len(item.query.rstrip()) :] + " "
        text = tokenizer.decode(ids[-count:])
        if item.query or ids[1:] != tokenizer(" " + choice)["input_ids"][1:]:
            assert text == space + choice
        whole = (item.query or "<|endoftext|>") + " " + choice
        assert whole.endswith(tokenizer.decode(ids))
    assert task.characters.tolist() == [len(c) for i in ITEMS for c in i.choices]
    assert task.items.tolist() == [n for n, i in enumerate(ITEMS) for _ in i.choices]
    golds = [(n, ITEMS[n].choices[ITEMS[n].gold]) for n in range(len(ITEMS))]
    choices = [(n, c) for n, i in enumerate(ITEMS) for c in i.choices]
    assert [choices[row] for row in task.gold_row] == golds


def test_several_tokens_and_long_rows(task):
    assert (task.continuations > 3).sum() > 3
    lengths = np.array([len(row) for row in task.rows])
    assert lengths.max() == CONTEXT + 1
    assert all(row.dtype == np.int64 for row in task.rows)


def merging_tokenizer():
    """Tokens that reach over the space between question and choice."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    tokens = ["<s>", "x", "a", " ", "b", "c", "a ", "a b"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    model = models.BPE(vocabulary, [("a", " "), ("a ", "b")])
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), bos_token="<s>")


def test_a_pair_is_split_by_the_length_of_the_question_alone():
    items = [ChoiceItem("xa", ("bc", "c"), 0)]
    task = encode_choices(items, merging_tokenizer(), name="t", source="", context=9)
    assert [row.tolist() for row in task.rows] == [[1, 2, 5]] * 2  # x|a with x|a b|c and x|a |c
    assert task.continuations.tolist() == [1, 1]
    items = [ChoiceItem("c", ("c", "b"), 0), ChoiceItem("a", ("bc", "b"), 0)]
    refused(
        lambda: encode_choices(items, merging_tokenizer(), name="t", source="", context=9),
        "task t: item 2 ('a'), choice 'b'",
        "no tokens of its own",
    )


def test_beginning_of_text():
    items = [ChoiceItem("x", ("a", "b"), 0), ChoiceItem("<s>x", ("a", "b"), 0)]
    items += [ChoiceItem("", ("a", "b"), 0), ChoiceItem("  ", ("a", "b"), 0)]

    def first_rows(tokenizer, bos):
        task = encode_choices(items[:3], tokenizer, name="t", source="", context=9, bos=bos)
        assert task.continuations.tolist() == [2] * 6
        return [row.tolist() for row in task.rows[::2]]

    plain, always = merging_tokenizer(), merging_tokenizer()
    always.add_bos_token = True
    without, once = [[1, 3, 2], [0, 1, 3, 2], [0, 3, 2]], [[0, 1, 3, 2]] * 2 + [[0, 3, 2]]
    assert first_rows(plain, None) == first_rows(plain, False) == without
    assert first_rows(always, False) == without
    assert first_rows(plain, True) == first_rows(always, None) == first_rows(always, True) == once

    def encode(tokenizer, bos):
        return encode_choices(items[2:], tokenizer, name="t", source="", context=9, bos=bos)

    assert encode(plain, True).rows[2].tolist() == [0, 3, 3, 3, 2]
    refused(lambda: encode(plain, None), "item 2", "white space alone")
    plain.bos_token = None
    refused(lambda: encode(plain, True), "bos", "no beginning-of-text token")
    refused(lambda: encode(plain, None), "item 1", "an empty one")
    plain.eos_token = "c"
    assert encode_choices(items[2:3], plain, name="", source="", context=9).rows[0][0] == 5
    plain.eos_token = " "  # the token of an empty question is also the first of the choice
    task = encode_choices(items[2:3], plain, name="", source="", context=9)
    assert task.rows[0].tolist() == [3, 2]
    assert task.continuations.tolist() == [1, 1]


def test_choices_that_do_not_fit(tokenizer):
    def encode(context, items=ITEMS[-1:]):
        return encode_choices(items, tokenizer, name="long", source="", context=context)

    tokens = int(encode(99).continuations[0])
    exact = encode(tokens)
    assert len(exact.rows[0]) == tokens + 1
    refused(
        lambda: encode(tokens - 1), "task long: item 1 ('Q')", f"{tokens} tokens", "drop the item"
    )
    assert fitting_items(ITEMS, tokenizer, context=tokens) == ITEMS
    assert fitting_items(ITEMS, tokenizer, context=tokens - 1) == ITEMS[:-1]
    refused(lambda: encode(0), "context", "at least 1")
    refused(lambda: encode(9, []), "no items")


def test_score_by_hand():
    task = toy(2, 3, gold=[1, 0], characters=[1, 4, 1, 1, 1])
    assert task.metrics == ("toy.acc", "toy.acc_norm", "toy.margin")
    scores = task.score(np.log([[0.4, 0.2, 0.5, 0.2, 0.1], [0.1, 0.3, 0.1, 0.1, 0.4]]))
    assert list(scores) == list(task.metrics)
    assert scores["toy.acc"].tolist() == [[0, 1], [1, 0]]
    assert scores["toy.acc_norm"].tolist() == [[1, 1], [1, 0]]
    margins = np.log([[0.5, 0.5 / 0.3], [3.0, 0.2]])
    assert scores["toy.margin"] == pytest.approx(margins, rel=1e-6)
    assert {values.dtype for values in scores.values()} == {np.dtype(np.float32)}


def test_the_first_of_equal_choices_counts():
    level = np.full((1, 4), -2.0)
    assert toy(2, 2, gold=[0, 1]).score(level)["toy.acc"].tolist() == [[1, 0]]
    scores = toy(2, 2, gold=[0, 1], characters=[2, 2, 1, 1]).score(level)
    assert scores["toy.acc_norm"].tolist() == [[1, 0]]
    assert scores["toy.margin"].tolist() == [[0, 0]]


def test_margins_of_hopeless_models_keep_their_digits():
    margin = toy(3, gold=[2]).score(np.array([[-1e6, -1e6 - 1, -1e6 + 0.5]]))["toy.margin"]
    assert margin[0, 0] == pytest.approx(0.5 - math.log1p(math.exp(-1)), rel=1e-6)


def test_what_is_not_a_number_stays_with_its_item():
    loglik = np.full((2, 5), -1.0)
    loglik[1, 3] = np.nan
    loglik[0, :2] = -np.inf
    scores = toy(2, 3, gold=[1, 0]).score(loglik)
    for values in scores.values():
        assert np.isnan(values[1]).tolist() == [False, True]
    assert np.isnan(scores["toy.margin"][0]).tolist() == [True, False]
    assert scores["toy.acc"][0].tolist() == [0, 1]


def test_one_column_a_row():
    for shape in ((5,), (1, 4), (1, 6)):
        with pytest.raises(ValueError, match=r"loglik must be \[B, 5\]"):
            toy(2, 3, gold=[1, 0]).score(np.zeros(shape))
    assert toy(2, 3, gold=[1, 0]).score(np.zeros((0, 5)))["toy.acc"].shape == (0, 2)


def test_fingerprint_covers_what_decides_a_score(tokenizer, task):
    def print_of(items=ITEMS, **changes):
        options = {"name": "toy", "source": "elsewhere", "context": CONTEXT, **changes}
        return encode_choices(items, tokenizer, **options).fingerprint()

    assert print_of() == task.fingerprint()
    first, *others = ITEMS
    changed = [
        print_of(name="other"),
        print_of(context=CONTEXT - 1),
        print_of(bos=True),
        print_of(others),
        print_of([ChoiceItem(first.query, first.choices, 1), *others]),
        print_of([ChoiceItem(first.query + "x", first.choices, 0), *others]),
        print_of([ChoiceItem(first.query, (*first.choices, "x"), 0), *others]),
        toy(2, 3, gold=[1, 0]).fingerprint(),
        toy(3, 2, gold=[1, 0]).fingerprint(),
        toy(3, 2, gold=[1, 0], characters=[1, 1, 1, 1, 2]).fingerprint(),
    ]
    assert len({task.fingerprint(), *changed}) == 1 + len(changed)


GOOD = {"query": "Sea\u2028water is", "choices": ["salty", "swéet"], "gold": 0, "id": 7}


@pytest.fixture
def write(tmp_path):
    def to(*lines):
        path = tmp_path / "task.jsonl"
        path.write_bytes(b"\n".join(x if isinstance(x, bytes) else x.encode() for x in lines))
        return str(path)

    return to


def test_items_are_read(write):
    second = {**GOOD, "query": "", "gold": 1}
    plain = json.dumps(GOOD, ensure_ascii=False)
    path = write("\ufeff" + plain + "\r", " ", json.dumps(second), "")
    assert read_choices(path) == [
        ChoiceItem("Sea\u2028water is", ("salty", "swéet"), 0),
        ChoiceItem("", ("salty", "swéet"), 1),
    ]


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ('{"query": "a"', "not valid JSON"),
        ("[" * 100_000, "not readable JSON"),
        ('{"gold": ' + "9" * 5000 + "}", "not readable JSON"),
        ('["a"]', "not an object"),
        (b"\xff\xfe{", "not UTF-8"),
        ("a\0b", "binary"),
        ({"query": None}, "query: must be a string, got null"),
        ({"query": "\ud800"}, "query: holds half of a surrogate pair"),
        ({"choices": "ab"}, "choices: must be a list of strings, got a string"),
        ({"choices": ["a", 3]}, "choices: number 1: must be a string, got 3"),
        ({"choices": ["a"]}, "choices: at least two"),
        ({"choices": ["a", ""]}, "choices: number 1 (from 0) is empty"),
        ({"gold": 2}, "gold: must be 0 to 1"),
        ({"gold": -1}, "gold: must be 0 to 1"),
        ({"gold": "0"}, "gold: must be a whole number"),
        ({"gold": True}, "got true"),
        ({"gold": 0.0}, "got 0.0"),
    ],
)
def test_lines_that_are_no_items_are_named(write, line, part):
    if isinstance(line, dict):
        line = json.dumps({**GOOD, **line})
    path = write(json.dumps(GOOD), "", line)
    refused(lambda: read_choices(path), f"task {path}: line 3: ", part)


@pytest.mark.parametrize("key", ["query", "choices", "gold"])
def test_missing_keys_are_named(write, key):
    line = json.dumps({k: v for k, v in GOOD.items() if k != key})
    refused(lambda: read_choices(write(line)), "line 1", f"no {key};")


def test_files_without_items(write, tmp_path):
    refused(lambda: read_choices(str(tmp_path / "gone.jsonl")), "gone.jsonl", "No such file")
    refused(lambda: read_choices(str(tmp_path)), "directory")
    refused(lambda: read_choices(write("")), "holds no items")
    refused(lambda: read_choices(write(" ", "\t")), "holds no items")


def numbered(count):
    return [ChoiceItem(f"question {i}", ("yes", "no"), i % 2) for i in range(count)]


def test_parts_are_disjoint_seeded_and_in_order():
    items = numbered(50)
    first, second = split_items(items, 20, 10, seed=3)
    assert (len(first), len(second)) == (20, 10)
    assert len({*first, *second}) == 30
    for part in (first, second):
        assert part == sorted(part, key=items.index)
    assert split_items(items, 20, 10, seed=3) == (first, second)
    assert split_items(items, 20, 10, seed=4) != (first, second)
    more, same = split_items(items, 40, 10, seed=3)
    assert same == second
    assert {*first} < {*more}


@pytest.mark.parametrize(
    ("count", "wanted", "sizes"),
    [(30, (200, 100), (20, 10)), (2, (999, 1), (1, 1)), (3, (1, 999), (1, 2)), (9, (4, 5), (4, 5))],
)
def test_short_files_are_shared_in_proportion(count, wanted, sizes):
    first, second = split_items(numbered(count), *wanted, seed=0)
    assert (len(first), len(second)) == sizes
    assert len({*first, *second}) == count


def test_repeated_questions_are_never_in_both_parts():
    items = [*numbered(4), *numbered(4), ChoiceItem("question 1", ("yes", "no"), 0)]
    first, second = split_items(items, 2, 2, seed=0)
    assert {*first, *second} == {*numbered(4)}
    refused(lambda: split_items(numbered(1) * 5, 2, 2, seed=0), "1 different", "at least 2")
    refused(lambda: split_items(items, 0, 2, seed=0), "calibration", "at least 1")
    refused(lambda: split_items(items, 2, 0, seed=0), "heldout", "at least 1")


def test_scoring_never_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = toy(2, gold=[0]).score(np.array([[np.nan, -np.inf], [-np.inf, 0.0]]))
    assert values["toy.margin"][1, 0] == -np.inf


def test_the_benchmark_scores_files_as_they_are(write, tmp_path, tokenizer, logprobs, monkeypatch):
    from benchmarks import choices_harness

    items = [*ITEMS[:2], ChoiceItem("Q", ("long " * 300, "A"), 1)]
    path = write(*(json.dumps(vars(item)) for item in items))
    target = tmp_path / "bars.json"

    def run(*options):
        monkeypatch.setattr("sys.argv", ["benchmark", path, "--json", str(target), *options])
        choices_harness.main()
        return json.loads(target.read_text())

    found = run()
    task = encode_choices(ITEMS[:2], tokenizer, name="task", source="", context=256)
    scores = found["ours"]["task"]
    for ids, count, loglik in zip(task.rows, task.continuations, scores["loglik"], strict=True):
        table = logprobs(ids[:-1].tolist())
        assert loglik == pytest.approx(table[-count:][range(count), ids[-count:]].sum(), abs=1e-4)
    wanted = task.score(np.array([scores["loglik"]]))
    for metric in ("acc", "acc_norm", "margin"):
        assert scores[metric] == pytest.approx(wanted[f"task.{metric}"].mean(), abs=1e-6)
    assert found["dropped"] == {"task": 1}
    assert found["bars"] == []
    assert run("--items", "1")["ours"]["task"]["loglik"] == scores["loglik"][:3]
    with pytest.raises(SystemExit) as caught:
        run("--harness", str(tmp_path / "gone"))
    assert caught.value.code == 2
