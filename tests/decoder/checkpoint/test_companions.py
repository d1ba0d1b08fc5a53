"""What belongs to a checkpoint beside its weights comes along, and others can read it."""

from __future__ import annotations

import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from decoder import ModelError, ModelSpec, load_model
from decoder.checkpoint.companions import copy_companions
from decoder.surgery.edit import Remove
from decoder.surgery.export import write
from layershap.demo.tokenizer import train_tokenizer
from tests.support.tiny_models import tiny_model

ALONG = {
    "preprocessor_config.json": "{}",
    "video_preprocessor_config.json": "{}",
    "chat_template.json": "{}",
    "LICENSE": "Apache",
    "LICENCE.txt": "MIT",
    "NOTICE": "by us",
    "USE_POLICY.md": "be kind",
}
NOT = {
    "README.md": "# the large one",
    "trainer_state.json": "{}",
    "optimizer.pt": "x",
    "code.py": "print()",
}


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "tiny"
    tiny_model("llama").save_pretrained(path)
    train_tokenizer(["some text, any text"], 300, 64).save_pretrained(path)
    for name, text in {**ALONG, **NOT}.items():
        (path / name).write_text(text)
    return ModelSpec(str(path))


def test_an_export_takes_them_along_with_ordinary_modes(spec, tmp_path):
    before = os.umask(0o027)
    try:
        write(spec, [Remove(1)], tmp_path / "small")
    finally:
        os.umask(before)
    files = {path.name: path for path in (tmp_path / "small").iterdir()}
    assert {name: files[name].read_text() for name in ALONG} == ALONG
    assert not NOT.keys() & files.keys()
    assert {oct(path.stat().st_mode & 0o777) for path in files.values()} == {"0o640"}


def test_code_comes_along_where_it_may_run_and_nothing_is_overwritten(spec, tmp_path):
    to = tmp_path / "to"
    to.mkdir()
    (to / "LICENSE").write_text("kept")
    trusted = ModelSpec(spec.name, trust_remote_code=True)
    assert set(copy_companions(trusted, to)) == {*ALONG, "code.py"} - {"LICENSE"}
    assert (to / "LICENSE").read_text() == "kept"


def test_stored_weights_without_use_are_refused_when_asked(spec, tmp_path):
    file = tmp_path / "tiny" / "model.safetensors"
    extra = {**load_file(file), "model.layers.0.unknown.weight": torch.ones(2)}
    save_file(extra, file, metadata={"format": "pt"})
    load_model(spec)
    with pytest.raises(ModelError, match=r"1 stored weights are not used .*unknown"):
        load_model(spec, strict=True)
