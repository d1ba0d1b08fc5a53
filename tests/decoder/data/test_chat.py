"""Conversations: what their template makes of them, and what of that is scored."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from decoder import MaskedModel, TextError, Workload, cut_sequences
from decoder.data.chat import encode_chat, read_conversations
from decoder.data.text import TokenStream, TokenText
from decoder.recovery.loss import sequence_losses
from layershap.demo.tokenizer import train_tokenizer
from tests.support.tiny_models import tiny_model

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is a lambda?"},
    {"role": "assistant", "content": "A function without a name."},
    {"role": "user", "content": "And def?"},
    {"role": "assistant", "content": "It names one."},
]


@pytest.fixture(scope="module")
def tokenizer():
    text = "What is a lambda function in Python? def names one; return gives. " * 40
    made = train_tokenizer([text], 300, 64)
    made.chat_template = TEMPLATE
    return made


def answers(tokenizer, stream):
    """The scored stretches of a stream, as text."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], stream.scored.astype(int), [0]])))
    return [
        tokenizer.decode(stream.tokens[a:b]) for a, b in zip(edges[::2], edges[1::2], strict=True)
    ]


def test_answers_and_the_ends_of_their_turns_are_scored_and_nothing_else(tokenizer):
    stream = encode_chat(tokenizer, [TALK], "talk")
    whole = tokenizer.apply_chat_template(TALK, tokenize=False)
    assert tokenizer.decode(stream.tokens) == whole
    assert answers(tokenizer, stream) == ["A function without a name.<end>", "It names one.<end>"]


def test_what_a_template_leaves_out_of_earlier_answers_is_not_scored(tokenizer):
    last_only = TEMPLATE.replace(
        "{{ m['content'] }}",
        "{{ m['content'] if loop.last or m['role'] != 'assistant' else '...' }}",
    )
    other = train_tokenizer(["What is a lambda function? " * 50], 300, 64)
    other.chat_template = last_only
    assert answers(other, encode_chat(other, [TALK], "talk")) == ["It names one.<end>"]


def test_records_of_both_forms_are_read_and_others_refused_by_line(tmp_path):
    file = tmp_path / "talks.jsonl"
    pair = {"prompt": "And def?", "completion": "It names one."}
    file.write_text(f"{json.dumps({'messages': TALK})}\n\n{json.dumps(pair)}\n")
    first, second = read_conversations(str(file))
    assert first == TALK
    assert [message["role"] for message in second] == ["user", "assistant"]
    for wrong in (
        *("3", "[]", "{", "[" * 9999, '{"text": "plain"}', '{"messages": []}'),
        *('{"messages": [{"role": "user"}]}', '{"messages": [{"role": 1, "content": "a"}]}'),
    ):
        file.write_text(f"{json.dumps(pair)}\n{wrong}\n")
        with pytest.raises(TextError, match="line 2 is no conversation"):
            read_conversations(str(file))
    file.write_text("\n")
    with pytest.raises(TextError, match="holds no conversation"):
        read_conversations(str(file))


def test_what_cannot_be_scored_is_refused(tokenizer):
    with pytest.raises(TextError, match="nothing would be scored"):
        encode_chat(tokenizer, [TALK[:2]], "talk")
    other = train_tokenizer(["What is a lambda function? " * 50], 300, 64)
    with pytest.raises(TextError, match="no chat template"):
        encode_chat(other, [TALK], "talk")
    other.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(TextError, match=r"refuses conversation 1 .*roles must alternate"):
        encode_chat(other, [TALK], "talk")


@pytest.mark.parametrize("bos", [None, 7])
def test_sequences_without_an_answer_are_left_out(bos):
    scored = np.zeros(60, dtype=bool)
    scored[[3, 4, 25, 26, 59]] = True
    stream = TokenStream(np.arange(60), scored)
    body = 10 - (bos is not None)
    text = cut_sequences(stream, sequences=9, length=10, source="talk", bos=bos)
    assert text.scored is not None
    kept = text.tokens[:, int(bos is not None) :]
    assert all((kept[:, :1] + np.arange(body) == kept).ravel())
    assert (text.scored == np.isin(text.tokens, np.flatnonzero(scored)))[:, 1:].all()
    assert text.predicted.min() >= 1
    assert text.predicted.sum() == (5 if bos is None else 5 - (60 // body * body <= 59))
    with pytest.raises(TextError, match="holds an answer"):
        cut_sequences(stream[5:25], sequences=2, length=10, source="talk")


def test_losses_are_those_of_the_answers_alone():
    model = tiny_model("llama")
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, model.config.vocab_size, (3, 20))
    scored = rng.random((3, 20)) < 0.4
    scored[:, 5] = True
    workload = Workload(TokenText(tokens, "talk", scored))
    keep = np.ones((2, 5), dtype=bool)
    keep[1, 2] = False
    found = MaskedModel(model, workload).measure(keep)["nll"]
    with torch.inference_mode():
        logits = model(input_ids=torch.from_numpy(tokens)).logits[:, :-1].log_softmax(-1)
    each = -logits.gather(-1, torch.from_numpy(tokens[:, 1:])[..., None])[..., 0].numpy()
    wanted = [row[mask].mean() for row, mask in zip(each, scored[:, 1:], strict=True)]
    weights = workload.metrics[0].weights
    assert weights == tuple(scored[:, 1:].sum(1))
    np.testing.assert_allclose(found[0], wanted, atol=1e-5)
    assert not np.allclose(found[1], wanted, atol=1e-3)
    np.testing.assert_allclose(sequence_losses(model, tokens, scored), wanted, atol=1e-5)
    plain = Workload(TokenText(tokens, "talk"))
    assert plain.fingerprint() != workload.fingerprint()
    half = Workload(TokenText(tokens, "talk", scored), score_share=0.5)
    for places, row in zip(half.scored_places(), scored[:, 1:], strict=True):
        assert row[places].all()
        assert len(places) == max(1, round(0.5 * row.sum()))
    with pytest.raises(TextError, match="no token that is scored"):
        Workload(TokenText(tokens, "talk", np.zeros((3, 20), dtype=bool)))
