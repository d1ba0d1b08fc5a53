"""Text that would make a run say something else than a person reads is refused or said loudly."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, PreTrainedTokenizerFast

from decoder import ModelSpec, TextError, load_tokenizer
from layershap.demo import MODEL_DIRECTORY
from layershap.demo.corpus import documents
from layershap.errors import UserError
from layershap.runs.config import RunConfig
from layershap.runs.texts import load_texts
from tests.support.command_line import call
from tests.support.tiny_run import OPTIONS

CONTEXT = LlamaConfig(max_position_embeddings=64)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(ModelSpec(str(MODEL_DIRECTORY)))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files of different text, a long one in two versions, by name."""
    folder = tmp_path_factory.mktemp("texts")
    one, two, *_ = (d.text for d in documents("calibration") if len(d.text) > 20_000)
    texts = {"one": one, "two": two, "mixed": two + one[: len(two) // 5], "again": one[:9000] * 3}
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return {name: str(folder / f"{name}.txt") for name in texts}


def texts(tokenizer, calibration, heldout=(), **settings):
    """The texts of a configuration; calibration and held-out files by path."""
    config = RunConfig.of(
        model="my/model", calibration=calibration, heldout=heldout, sequence_length=32, **settings
    )
    return load_texts(config, tokenizer, CONTEXT)


@pytest.mark.parametrize("heldout", ["one", "mixed"])
def test_held_out_text_from_the_calibration_text_is_refused(tokenizer, files, heldout):
    given = ((files["one"],), (files[heldout],))
    with pytest.raises(UserError) as caught:
        texts(tokenizer, *given)
    assert caught.value.option == "--heldout"
    assert "--allow-overlap" in caught.value.remedy
    (alarm,) = texts(tokenizer, *given, allow_overlap=True).alarms
    assert "too low to be believed" in alarm


def test_text_that_repeats_itself_leaves_nothing_to_hold_out(tokenizer, files):
    with pytest.raises(UserError) as caught:
        texts(tokenizer, (files["again"],))
    assert caught.value.option == "--calibration"
    assert "--heldout FILE" in caught.value.remedy


def test_different_text_is_taken_without_a_word(tokenizer, files):
    assert texts(tokenizer, (files["one"],), (files["two"],)).alarms == ()
    assert texts(tokenizer, (files["one"],)).alarms == ()


def test_the_embedded_texts_share_nothing_and_are_not_for_other_models(tokenizer):
    assert load_texts(RunConfig(), tokenizer, CONTEXT).alarms == ()
    (alarm,) = texts(tokenizer, ()).alarms
    assert "my/model" not in alarm
    assert "model is judged on source files of the Python library" in alarm


def test_unknown_tokens(files):
    words = {"<unk>": 0, "the": 1, "of": 2}
    model = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    knows_little = PreTrainedTokenizerFast(tokenizer_object=model, unk_token="<unk>")
    with pytest.raises(TextError, match="% of its tokens are unknown"):
        texts(knows_little, (files["one"],), (files["two"],))


def test_doctor_says_it_in_words_that_stand_out(checkpoint, tmp_path):
    status, out, _ = call("doctor", checkpoint[0], "-o", tmp_path / "x", *OPTIONS)
    assert status == 0, out
    (line,) = [line for line in out.splitlines() if line.startswith("WARN")]
    assert "give --calibration FILE" in line
