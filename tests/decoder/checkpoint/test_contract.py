"""Layers from a checkpoint, read from disk or kept in memory, keep the contract of sources."""

from __future__ import annotations

import pytest
import torch

from decoder.checkpoint.offload import load_streamed
from decoder.model.loading import ModelSpec
from decoder.model.structure import find_stack
from tests.support.contracts.layer_source import LayerSourceContract
from tests.support.tiny_models import tiny_model


class TestLayerStore(LayerSourceContract):
    @pytest.fixture(params=["disk", "ram"])
    def streamed(self, request, tmp_path):
        tiny_model("llama").save_pretrained(tmp_path)
        spec = ModelSpec(str(tmp_path), device="cpu")
        return load_streamed(spec, torch.device("cpu"), source=request.param)

    @pytest.fixture
    def source(self, streamed):
        return streamed[1]

    @pytest.fixture
    def layers(self, streamed):
        return find_stack(streamed[0]).layers

    @pytest.fixture
    def wanted(self):
        return [layer.state_dict() for layer in find_stack(tiny_model("llama")).layers]
