"""The model card of an exported checkpoint: what was removed and fitted, its cost, the checks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["model_card"]

Facts = Mapping[str, Any]


def model_card(facts: Facts) -> str:
    """The text of the checkpoint's `README.md`, with Hugging Face's front matter.

    Args:
        facts: everything that `layershap.json` says.
    """
    base = Path(facts["base_model"]).name if facts["base_is_local"] else facts["base_model"]
    front = ["library_name: transformers", "pipeline_tag: text-generation"]
    if not facts["base_is_local"]:
        front.append(f"base_model: {json.dumps(base)}")
    front += ["tags:", "- pruned", "- layershap"]
    parts = [
        "\n".join(["---", *front, "---"]),
        f"# {base} without {facts['removed_players']}",
        f"{base} with parts of its decoder {_done(facts)} by layershap{_after_that(facts)} "
        f"{_kind(facts)}; the licence and the terms of the base model hold for it too.",
        f"```python\n{_loading(facts)}\n```",
        "## What was removed\n\n" + "\n".join(f"- {line}" for line in _removed_lines(facts)),
        *_repair(facts),
        "## What it costs and gains\n\n" + _table(facts),
        _checks(facts),
    ]
    return "\n\n".join(parts) + "\n"


def _repaired(facts: Facts) -> Facts | None:
    """What was fitted; None where nothing was."""
    repair = facts.get("repair")
    return repair if repair and repair["method"] != "none" else None


def _matrices(facts: Facts) -> str | None:
    """The file of matrices at the cuts; None for a stock checkpoint."""
    return (facts.get("repair") or {}).get("matrices")


def _kind(facts: Facts) -> str:
    if _matrices(facts) is None:
        return "It is a stock checkpoint"
    return (
        f"Its matrices are in {_matrices(facts)}, which layershap.load reads; stock loaders leave "
        "them out and get the model that is not repaired"
    )


def _loading(facts: Facts) -> str:
    tokenizer = 'tokenizer = AutoTokenizer.from_pretrained("PATH")'
    if _matrices(facts) is None:
        return (
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            f'model = AutoModelForCausalLM.from_pretrained("PATH", dtype="auto")\n{tokenizer}'
        )
    return (
        "import layershap\nfrom transformers import AutoTokenizer\n\n"
        f'model = layershap.load("PATH")\n{tokenizer}'
    )


def _after_that(facts: Facts) -> str:
    if _matrices(facts):
        return (
            ", and a matrix at each cut fitted to the base model by least squares. It was not "
            "fine-tuned."
        )
    if _repaired(facts):
        return (
            ", and some of the weights that stay fitted to the base model by least squares. It was "
            "not fine-tuned."
        )
    return ", and nothing else changed: it was not fine-tuned or healed after that."


def _repair(facts: Facts) -> list[str]:
    repair = _repaired(facts)
    if repair is None:
        return []
    before, after, gain = (_of(repair[key]) for key in ("before", "after", "gain"))
    what = "Matrices" if _matrices(facts) else "Weights"
    return [
        "## What was repaired\n\n"
        f"{what} fitted by the method {repair['method']} on {repair['tokens']:,} tokens "
        f"({repair['text']}), each rounded once to its stored type. On held-out text "
        f"({repair['heldout']}) the model costs {before} nats per token above the base model "
        f"without repair and {after} with it; the paired difference is {gain}. Intervals are 95 %."
    ]


def _of(ends: Facts) -> str:
    middle, lower, upper = ends["difference"], ends["lower"], ends["upper"]
    if middle is None:
        return "an unknown number of"
    return f"{middle:+.3f}" if lower is None else f"{middle:+.3f} ({lower:+.3f} to {upper:+.3f})"


def _done(facts: Facts) -> str:
    return "merged into others" if facts.get("merged") else "left out"


def _removed_lines(facts: Facts) -> list[str]:
    lines = []
    if facts["removed_layers"]:
        listed = ", ".join(map(str, facts["removed_layers"]))
        lines.append(f"Whole layers, counted from 0 in the base model: {listed}.")
    for into, layers in facts.get("merged", ()):
        listed = ", ".join(map(str, layers))
        lines.append(
            f"Merged into layer {into}, which took what their weights differ from its own by "
            f"(LaCo, arXiv 2402.11187): {listed}."
        )
    for attention, mlp in facts["repacked"]:
        lines.append(
            f"The MLP of layer {attention} and the attention of layer {mlp}: the attention of "
            f"{attention} and the MLP of {mlp} are one layer now."
        )
    if facts["zeroed"]:
        lines.append(
            f"Zeroed, so neither smaller nor faster in a stock model: {', '.join(facts['zeroed'])}."
        )
    return lines


def _table(facts: Facts) -> str:
    rows = [
        ("decoder layers", facts["layers_before"], facts["layers_after"]),
        ("parameters", f"{facts['parameters_before']:,}", f"{facts['parameters_after']:,}"),
    ]
    measured = facts.get("measured")
    under = "Its quality was not measured on held-out text."
    if _repaired(facts):
        under = "Its quality was measured before and after repair, above."
    if measured:
        rows += _quality(measured["whole"], measured["this"])
        under = f"Measured on {measured['tokens']:,} tokens that the search never saw"
        under += f" ({measured['text']}), in {facts['dtype']}; intervals are 95 %, paired."
        if _repaired(facts):
            under += " The quality in this table is that of the model before repair."
        speed = measured["this"]["speed"]
        # Speed is that of the layers that were timed; of repacked ones it may not be.
        if speed and speed["parameters"] == facts["parameters_after"]:
            rows += [
                (f"{what} speed, to the base model's", 1, _ratio(speed[f"{key}_ratio"]))
                for what, key in (("prefill", "prefill"), ("cached decoding", "decode"))
            ]
            under += " Speed is the median of interleaved rounds, with quartiles."
    lines = ["| | base model | this model |", "|---|---|---|"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([*lines, "", under])


def _quality(whole: Facts, this: Facts) -> list[tuple[str, str, str]]:
    change = _interval(this["difference"], this["difference_lower"], this["difference_upper"])
    rows = [
        ("loss, nats per token", f"{whole['nll']:.3f}", f"{this['nll']:.3f} ({change})"),
        ("perplexity", f"{whole['perplexity']:.2f}", f"{this['perplexity']:.2f}"),
        ("same likeliest token as the base model", "", f"{100 * this['top1']:.1f} %"),
    ]
    for name, value in (this.get("tasks") or {}).items():
        before = (whole.get("tasks") or {}).get(name)
        rows.append((name, _number(before), _number(value)))
    return rows


def _number(value: Any) -> str:
    """A task's score: a number, or one with its interval."""
    if isinstance(value, Mapping):
        number = value["value"]
        if value.get("lower") is None or not value.get("difference"):
            return f"{number:.3f}"
        change = _interval(value["difference"], value["lower"], value["upper"])
        return f"{number:.3f} ({change})"
    return "" if value is None else f"{value:.3f}"


def _interval(middle: float, lower: float | None, upper: float | None) -> str:
    if lower is None or upper is None:
        return f"{middle:+.3f}"
    return f"{middle:+.3f}, {lower:+.3f} to {upper:+.3f}"


def _ratio(quartiles: Sequence[float]) -> str:
    low, middle, high = quartiles
    return f"{middle:.2f}x ({low:.2f} to {high:.2f})"


def _compared(facts: Facts) -> str:
    if _repaired(facts):
        fitted = "matrices" if _matrices(facts) else "weights"
        return f"skipped and the fitted {fitted} in memory"
    return "merged in memory" if facts.get("merged") else "skipped"


def _checks(facts: Facts) -> str:
    checks, versions = facts["checks"], facts["versions"]
    by = "layershap.load and" if _matrices(facts) else "stock"
    return (
        "## What was checked\n\n"
        f"Loaded with {by} transformers {versions['transformers']} (torch {versions['torch']}), "
        f"against the base model with the same parts {_compared(facts)}, as a share of the "
        "largest logit: "
        f"logits differ by {checks['logits']:.1e}, decoding with a cache by "
        f"{checks['cached']:.1e}, `generate` by {checks['generated']:.1e}, saved and loaded again "
        f"by {checks['saved_again']:.1e}; {checks['allowed']:.0e} is allowed. Everything else is "
        "in `layershap.json`."
    )
