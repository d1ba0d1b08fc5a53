"""Texts are read from files and datasets, refused with one clear line, and cut into sequences."""

from __future__ import annotations

import json

import numpy as np
import pytest

from decoder import TextError, cut_sequences, read_dataset, read_file, tokenise
from decoder.data import text
from layershap.demo.tokenizer import END_OF_TEXT, train_tokenizer

STREAM = np.arange(2, 102)


@pytest.fixture
def write(tmp_path):
    def to(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return to


def refused(call, *parts):
    """The call raises a TextError of one line that holds all parts."""
    with pytest.raises(TextError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_plain_text_loses_only_its_byte_order_mark(write):
    assert read_file(write("a.txt", "\ufeffÄpfel\nand pears\n")) == ["Äpfel\nand pears\n"]


def test_json_lines_hold_strings_or_objects_with_text(write):
    lines = ['"one"', "", '{"id": 1, "text": "two"}', '{"content": "three \u2028 four"}\r']
    found = read_file(write("a.jsonl", "\n".join(lines) + "\n"))
    assert found == ["one", "two", "three \u2028 four"]


def test_json_holds_a_list_or_one_string(write):
    assert read_file(write("a.json", '["one", {"story": "two"}]')) == ["one", "two"]
    assert read_file(write("b.json", '"only"')) == ["only"]


def test_json_lines_name_the_broken_line(write):
    path = write("a.jsonl", '"one"\n\n{"text": "two"\n')
    refused(lambda: read_file(path), path, "not valid JSON", "line 3")


def test_json_names_the_broken_line(write):
    refused(lambda: read_file(write("a.json", '["one",\n"two"\n')), "not valid JSON", "line 3")


@pytest.mark.parametrize("content", ['{"text": "one"}', "3"])
def test_json_must_be_a_list(write, content):
    refused(lambda: read_file(write("a.json", content)), "list of strings")


@pytest.mark.parametrize("item", ['{"title": "no text"}', "7", '{"text": null}'])
def test_items_without_text_are_numbered(write, item):
    refused(lambda: read_file(write("a.jsonl", f'"one"\n{item}\n')), "item 2", "text, content")


def test_files_that_are_no_text(write, tmp_path):
    refused(lambda: read_file(str(tmp_path / "gone.txt")), "gone.txt", "No such file")
    refused(lambda: read_file(str(tmp_path)), "directory", "name the file")
    refused(lambda: read_file(write("empty.txt", "")), "empty")
    refused(lambda: read_file(write("blank.txt", " \n\t\n")), "empty")
    refused(lambda: read_file(write("blank.json", '["", " "]')), "holds no text")
    refused(lambda: read_file(write("a.bin", b"abc\xff\xfe")), "not UTF-8", "byte 3")
    refused(lambda: read_file(write("b.bin", b"abc\0def")), "binary")


def test_very_long_files_are_cut_and_not_misread(write, monkeypatch):
    monkeypatch.setattr(text, "_MOST_BYTES", 21)
    assert read_file(write("a.txt", "ab" * 10 + "Äpfel")) == ["ab" * 10]  # Ä is bytes 21 and 22
    assert read_file(write("a.jsonl", '"first"\n"second"\n"third"\n')) == ["first", "second"]
    refused(lambda: read_file(write("a.json", '["first", "second", "third"]')), "JSON lines")


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """A local dataset directory, read with the caches in a temporary place."""
    import datasets

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    folder = tmp_path / "set"
    folder.mkdir()

    def to(rows, split="train"):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        return str(folder)

    return to


def test_dataset_column_is_found_or_named(dataset):
    rows = [{"id": i, "note": f"note {i}", "text": f"text {i}"} for i in range(3)]
    path = dataset(rows)
    assert read_dataset(path) == ["text 0", "text 1", "text 2"]
    assert read_dataset(f"{path},,train,note") == ["note 0", "note 1", "note 2"]
    assert read_dataset(f"{path},,train[:1]") == ["text 0"]


def test_dataset_errors(dataset, tmp_path):
    path = dataset([{"label": 3, "note": None}, {"label": 4, "note": "a note"}])
    refused(lambda: read_dataset(path), "no text column", "label, note")
    refused(lambda: read_dataset(f"{path},,train,story"), "no text column", "label, note")
    refused(lambda: read_dataset(f"{path},,train,label"), "column label", "int", "not text")
    refused(lambda: read_dataset(f"{path},,validation"), "cannot be loaded", "validation")
    refused(lambda: read_dataset(str(tmp_path / "nowhere")), "cannot be loaded", "nowhere")
    assert read_dataset(f"{path},,train,note") == ["", "a note"]


def test_dataset_without_any_text(dataset):
    refused(lambda: read_dataset(dataset([{"text": ""}, {"text": " "}])), "holds no text")


def test_documents_are_parted_by_the_end_of_text():
    tokenizer = train_tokenizer(["some text, any text"], 300, 64)
    end = tokenizer.convert_tokens_to_ids(END_OF_TEXT)
    one, two = (tokenizer(t, add_special_tokens=False)["input_ids"] for t in ("some", "any text"))
    assert tokenise(tokenizer, ["some", "any text"]).tolist() == [*one, end, *two]
    assert tokenise(tokenizer, ["some"]).tolist() == one
    tokenizer.eos_token = None
    assert tokenise(tokenizer, ["some", "any text"]).tolist() == [*one, *two]


def test_sequences_are_evenly_spread():
    cut = cut_sequences(STREAM, sequences=3, length=10, source="numbers")
    assert cut.tokens.tolist() == [list(range(s, s + 10)) for s in (2, 42, 92)]
    assert cut.tokens.dtype == np.int64
    assert cut.predicted.tolist() == [9, 9, 9]
    assert cut.source == "numbers"


@pytest.mark.parametrize("wanted", range(1, 13))
def test_as_many_sequences_as_there_are(wanted):
    rows = cut_sequences(STREAM, sequences=wanted, length=10, source="numbers").tokens
    assert len(rows) == len(np.unique(rows[:, 0])) == min(wanted, 10)


def test_bos_is_put_first_and_counts():
    rows = cut_sequences(STREAM, sequences=99, length=11, source="numbers", bos=1).tokens
    assert rows.shape == (10, 11)
    assert (rows[:, 0] == 1).all()
    assert rows[:, 1:].ravel().tolist() == STREAM.tolist()


def test_texts_that_are_too_short():
    def cut(length, sequences=1, bos=None):
        return cut_sequences(STREAM, sequences=sequences, length=length, source="tale.txt", bos=bos)

    refused(lambda: cut(101), "tale.txt", "100 tokens", "--sequence-length")
    refused(lambda: cut(1), "--sequence-length 1", "at least 2")
    refused(lambda: cut(10, sequences=0), "--sequences 0", "at least 1")
    assert cut(101, bos=1).tokens.shape == (1, 101)
