"""The sweep of families: a few of each kind, and the page that it writes."""

from __future__ import annotations

import json

import pytest

from benchmarks.support.families.check import checked
from benchmarks.support.families.table import outcome, page, reason
from benchmarks.support.families.tiny import families, tiny_config

# Lists a layer, a share of the depth, spans, overrides keyed by layer, an encoder's decoder, a
# first layer that must stay, an encoder made a decoder; two numbers a layer, several streams,
# hybrids.
EXACT = ("smollm3", "minicpm3", "ernie4_5_moe", "gemma4_unified_text", "bart", "rwkv", "bert")
SLOW = ("longcat_flash", "deepseek_v4", "qwen3_5_text", "recurrent_gemma", "modernbert-decoder")


@pytest.mark.parametrize(
    "family", [*EXACT, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_families_are_exact_from_their_files_to_a_smaller_checkpoint(family, tmp_path):
    found = checked(family, tmp_path)
    assert outcome(found) == "exact", found


@pytest.mark.parametrize("family", ["beam", "diffllama", "jamba"])
def test_what_no_configuration_describes_is_measured_and_not_exported(family, tmp_path):
    found = checked(family, tmp_path)
    assert outcome(found) == "measured", found
    assert reason(found).startswith("export: its configuration cannot describe it")


@pytest.mark.parametrize("family", ["xlnet", "inkling2_text", "prophetnet", "zaya"])
def test_what_cannot_be_measured_is_refused(family, tmp_path):
    found = checked(family, tmp_path)
    assert outcome(found) == "refused", found


def test_families_are_those_that_transformers_loads():
    assert {"llama", "gpt2", "qwen3_5_text"} < set(families())
    assert tiny_config("llama").num_hidden_layers == 6


def test_the_page_names_every_family_and_its_reason():
    whole = dict.fromkeys(("built", "door", "layers", "export", "halves", "export halves"), "exact")
    odd = (
        "refused: model type odd: can be measured, cannot be exported, because of it; use layershap"
    )
    results = [
        {"family": "fine", **whole},
        {"family": "odd", **whole, "export": odd},
        {"family": "none", "built": "error: ImportError: no timm (import_utils.py:5)"},
    ]
    text = page(json.loads(json.dumps(results)), "9.9")
    assert "Of 2 that could be built 1 are exact" in text
    assert "| `odd` | export: of it |" in text
    assert "no timm |" in text
