"""What lies beside an exported checkpoint says what was measured, and nothing that was not."""

from __future__ import annotations

import yaml

from decoder.surgery.edit import Merge
from layershap.export.card import model_card
from layershap.export.notes import measured_facts
from layershap.results.recommendations import RECOMMENDATIONS

WHOLE = {
    "nll": 2.5,
    "perplexity": 12.18,
    "difference": 0.0,
    "difference_lower": 0.0,
    "difference_upper": 0.0,
    "kl": 0.0,
    "top1": 1.0,
    "tasks": {"words.acc": {"value": 0.75, "difference": 0.0, "lower": 0.0, "upper": 0.0}},
    "parameters": 1000,
}
LESS = {
    **WHOLE,
    "nll": 2.55,
    "perplexity": 12.81,
    "difference": 0.05,
    "difference_lower": 0.04,
    "difference_upper": 0.06,
    "top1": 0.865,
    "tasks": {"words.acc": {"value": 0.7, "difference": -0.05, "lower": -0.1, "upper": 0.0}},
    "speed": {
        "prefill": 1.0,
        "decode": 1.0,
        "parameters": 800,
        "prefill_ratio": [1.1, 1.2, 1.3],
        "decode_ratio": [1.2, 1.25, 1.4],
    },
}
VERIFIED = RECOMMENDATIONS.from_dict(
    {
        "fingerprint": "f",
        "text": "held-out.txt",
        "tokens": 8160,
        "noun": "layer",
        "players": [f"L{layer}" for layer in range(5)],
        "dense": WHOLE,
        "recommendations": [
            {
                "count": 1,
                "removed": [2],
                "names": "2",
                "export": "layershap export RUN",
                "against_best": None,
                **LESS,
                "baselines": [
                    {"method": "greedy", "removed": [1, 0], **LESS, "nll": 2.75},
                    {"method": "LaCo", "removed": [3], **LESS, "nll": 2.6, "merges": [[2, [3]]]},
                ],
            }
        ],
    }
)
FACTS = {
    "base_model": "Qwen/Qwen3-0.6B",
    "base_is_local": False,
    "removed_players": "L0.mlp,L1.attn,2,L4.attn",
    "removed_layers": [2],
    "repacked": [[0, 1]],
    "zeroed": ["L4.attn"],
    "layers_before": 5,
    "layers_after": 3,
    "parameters_before": 1000,
    "parameters_after": 800,
    "dtype": "float32",
    "measured": measured_facts(VERIFIED, [2]),
    "checks": {
        "logits": 1e-7,
        "cached": 2e-7,
        "generated": 3e-7,
        "saved_again": 0.0,
        "allowed": 1e-4,
    },
    "versions": {"transformers": "5.23.0", "torch": "2.13.0"},
}


def front(card):
    return yaml.safe_load(card.split("---")[1])


def test_facts_are_those_of_the_very_set():
    found = measured_facts(VERIFIED, [2])
    assert found is not None
    assert found["this"]["nll"] == 2.55
    assert found["whole"]["nll"] == 2.5
    baseline = measured_facts(VERIFIED, [0, 1])
    assert baseline is not None
    assert baseline["this"]["nll"] == 2.75
    assert measured_facts(VERIFIED, [2, 3]) is None
    assert measured_facts(VERIFIED, [3]) is None, "layers that are merged are not left out"
    merged = measured_facts(VERIFIED, [3], [Merge(2, (3,))])
    assert merged is not None
    assert merged["this"]["nll"] == 2.6
    assert measured_facts(VERIFIED, [3], [Merge(1, (3,))]) is None, "merged elsewhere"
    assert measured_facts(None, [2]) is None


def test_the_card_tells_what_is_known():
    card = model_card(FACTS)
    assert front(card) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": "Qwen/Qwen3-0.6B",
        "tags": ["pruned", "layershap"],
    }
    assert "# Qwen/Qwen3-0.6B without L0.mlp,L1.attn,2,L4.attn" in card
    assert "the attention of 0 and the MLP of 1 are one layer now" in card
    assert "neither smaller nor faster in a stock model: L4.attn" in card
    assert "not fine-tuned" in card
    assert "| loss, nats per token | 2.500 | 2.550 (+0.050, +0.040 to +0.060) |" in card
    assert "| same likeliest token as the base model |  | 86.5 % |" in card
    assert "| words.acc | 0.750 | 0.700 (-0.050, -0.100 to +0.000) |" in card
    assert "| cached decoding speed, to the base model's | 1 | 1.25x (1.20 to 1.40) |" in card
    assert "8,160 tokens that the search never saw (held-out.txt), in float32" in card
    assert "saved and loaded again by 0.0e+00; 1e-04 is allowed" in card


def test_the_card_tells_of_merged_layers():
    card = model_card({**FACTS, "removed_layers": [], "repacked": [], "merged": [[1, [2, 3]]]})
    assert "with parts of its decoder merged into others" in card
    assert "Merged into layer 1" in card
    assert ": 2, 3." in card
    assert "same parts merged in memory" in card


def test_the_card_is_silent_about_what_is_not_known():
    card = model_card({**FACTS, "measured": None})
    assert "not measured on held-out text" in card
    assert "perplexity" not in card
    other = model_card({**FACTS, "parameters_after": 700})
    assert "speed, to" not in other, "the speed of another model's size"
    assert "| perplexity | 12.18 | 12.81 |" in other


def test_a_local_base_is_named_without_its_directories():
    facts = {**FACTS, "base_model": "/home/someone/models/mine", "base_is_local": True}
    card = model_card(facts)
    assert "base_model" not in front(card)
    assert "# mine without" in card
    assert "/home" not in card
