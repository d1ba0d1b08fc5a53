"""What is written beside an exported checkpoint: where it comes from, how good it was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from decoder import ModelSpec, pick_device, resolve_dtype
from decoder.surgery.blocks import removed_players, removed_units
from decoder.surgery.edit import Edits, Merge
from layershap.files import finite
from layershap.results.paired_results import PairedResult
from layershap.results.recommendations import RECOMMENDATIONS, Recommendations, VerifiedModel
from layershap.results.set_text import removal_text
from layershap.runs.recorded import CALIBRATION, HELDOUT

if TYPE_CHECKING:
    from layershap.results.repairs import KeptRepair
    from layershap.runs.workspace import Workspace

__all__ = ["measured_facts", "model_card", "origin", "provenance"]

Facts = Mapping[str, Any]

_QUALITY = (
    *("nll", "perplexity", "difference", "difference_lower", "difference_upper", "kl", "top1"),
    *("texts", "tasks", "speed", "against_best", "warnings", "parameters"),
)


def provenance(work: Workspace, edits: Edits, repair: KeptRepair | None = None) -> dict[str, Any]:
    """What was removed, from what, and how that was measured, for `layershap.json`.

    Args:
        work: the run's workspace.
        edits: what was done to the model.
        repair: whose edits they are, where weights were fitted.
    """
    from importlib.metadata import version

    config = work.config
    fingerprints = {name: work.fingerprint(name) for name in (CALIBRATION, HELDOUT)}
    verified = RECOMMENDATIONS.found(work.directory.path)
    if verified is not None and verified.fingerprint != fingerprints[HELDOUT]:
        verified = None  # of other weights or another text
    removed = removed_players(work.roster, edits) if repair is None else repair.removed
    merges = [edit for edit in edits if isinstance(edit, Merge)]
    # A run measures sets of players and whole merged models, not the two at once.
    known = removed is not None and len(merges) in (0, len(edits))
    return {
        "base_model": config.title,
        "base_is_local": config.model.name is None or Path(config.model_name).exists(),
        "revision": config.model.revision,
        "fingerprint": fingerprints[HELDOUT],
        "fingerprints": fingerprints,
        "players": work.roster.kind,
        "removed_players": _names(edits)
        if removed is None
        else removal_text(work.players, removed),
        "utility": work.utility.metric,
        "measured": measured_facts(verified, removed or (), merges) if known else None,
        "repair": None if repair is None else _repair_facts(repair, work.texts.heldout.source),
        "dtype": work.dtype,
        "layershap": version("layershap"),
    }


def _repair_facts(repair: KeptRepair, heldout: str) -> dict[str, Any]:
    """Which repair, fitted on what, and the cost without and with it."""

    def ends(found: PairedResult) -> dict[str, float | None]:
        return {"difference": found.difference, "lower": found.lower, "upper": found.upper}

    return finite(
        {
            "method": repair.cost.method,
            "asked": repair.asked,
            "text": repair.cost.text,
            "text_fingerprint": repair.fitted_on,
            "tokens": repair.cost.tokens,
            "heldout": heldout,
            "before": ends(repair.deleted),
            "after": ends(repair.cost),
            "gain": ends(repair.cost.gain),
            "notes": list(repair.notes),
        }
    )


def origin(spec: ModelSpec, edits: Edits) -> dict[str, Any]:
    """The same where no run is about the model, so that nothing of it was measured.

    Args:
        spec: the model.
        edits: what was done to it.
    """
    from importlib.metadata import version

    dtype = resolve_dtype(spec, pick_device(spec.device))
    return {
        "base_model": spec.name,
        "base_is_local": Path(spec.name).exists(),
        "revision": spec.revision,
        "removed_players": _names(edits),
        "measured": None,
        "dtype": str(dtype).removeprefix("torch."),
        "layershap": version("layershap"),
    }


def measured_facts(
    verified: Recommendations | None, removed: Sequence[int], merges: Sequence[Merge] = ()
) -> dict[str, Any] | None:
    """Tell what a run's verification says of a set and of the whole model.

    Args:
        verified: what was verified; None where nothing was.
        removed: players.
        merges: where the removed layers are merged into others instead of dropped.

    Returns:
        None where the set was not verified.
    """
    wanted = tuple((merge.into, merge.layers) for merge in merges)
    found = None if verified is None else verified.of_set(removed, wanted)
    if verified is None or found is None:
        return None
    return {
        "text": verified.text,
        "tokens": verified.tokens,
        "whole": _quality_facts(verified.dense),
        "this": _quality_facts(found),
    }


def _quality_facts(model: VerifiedModel) -> dict[str, Any]:
    """What was measured of a model, as JSON values."""
    plain = finite(TypeAdapter(type(model)).dump_python(model))
    return {name: plain.get(name) for name in _QUALITY}


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
        f"{base} with parts of its decoder {_done(facts)} by layershap{_after_that(facts)} It is a "
        "stock checkpoint; the licence and the terms of the base model hold for it too.",
        "```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'model = AutoModelForCausalLM.from_pretrained("PATH", dtype="auto")\n'
        'tokenizer = AutoTokenizer.from_pretrained("PATH")\n```',
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


def _after_that(facts: Facts) -> str:
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
    return [
        "## What was repaired\n\n"
        f"Weights fitted by the method {repair['method']} on {repair['tokens']:,} tokens "
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


def _names(edits: Edits) -> str:
    names = [unit.name for unit in removed_units(edits)]
    return removal_text(names, range(len(names)))


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
        return "skipped and the fitted weights in memory"
    return "merged in memory" if facts.get("merged") else "skipped"


def _checks(facts: Facts) -> str:
    checks, versions = facts["checks"], facts["versions"]
    return (
        "## What was checked\n\n"
        f"Loaded with stock transformers {versions['transformers']} (torch {versions['torch']}), "
        f"against the base model with the same parts {_compared(facts)}, as a share of the "
        "largest logit: "
        f"logits differ by {checks['logits']:.1e}, decoding with a cache by "
        f"{checks['cached']:.1e}, `generate` by {checks['generated']:.1e}, saved and loaded again "
        f"by {checks['saved_again']:.1e}; {checks['allowed']:.0e} is allowed. Everything else is "
        "in `layershap.json`."
    )
