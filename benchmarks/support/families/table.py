"""What became of every family, as the page of the documentation that says so."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["outcome", "page", "reason"]

STEPS = ("built", "door", "layers", "export", "halves", "export halves")
_MODEL = re.compile(r"^(model \S+: an? |model type \S+: |[A-Z]\w+: )")
_EXPORT = re.compile(r"can be measured, cannot be exported, because |in this transformers")
_REMEDIES = re.compile(r"; (this model can|use layershap|leaving|nothing was|give |only models).*")


def outcome(result: Mapping[str, Any]) -> str:
    """Name what became of a family.

    Args:
        result: of the sweep.

    Returns:
        "exact" (whole layers measured and exported; halves too, or refused), "measured" (exact, but
        no export), "refused", "not built" or "wrong".
    """
    said = [str(result.get(step, "")) for step in STEPS]
    built, door, layers, export = said[:4]
    if built != "exact":
        return "not built"
    if any(text.startswith(("off", "error")) for text in said):
        return "wrong"
    if "refused" in door or "refused" in layers:
        return "refused"
    return "measured" if "refused" in export else "exact"


def reason(result: Mapping[str, Any]) -> str:
    """Say in one short text what was refused, and why.

    Args:
        result: of the sweep.
    """
    found = []
    for step in STEPS:
        text = str(result.get(step, "exact"))
        if text in ("exact", ""):
            continue
        why = text.partition(": ")[2]
        why = _REMEDIES.sub("", _EXPORT.sub("", _MODEL.sub("", why))).strip(" ,")
        if step == "built":
            why = re.sub(r" \(\w+\.py:\d+\)$", "", why)
        found.append(f"{step}: {why}" if step not in ("door", "layers") else why)
    return "; ".join(dict.fromkeys(found)).replace("|", "\\|")[:240]


def page(results: Sequence[Mapping[str, Any]], version: str) -> str:
    """Write the page.

    Args:
        results: of the sweep.
        version: of transformers.
    """
    by: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by.setdefault(outcome(result), []).append(result)
    built = len(results) - len(by.get("not built", ()))
    exact = by.get("exact", [])
    whole = [r["family"] for r in exact if r.get("export halves") == "exact"]
    rest = [r for r in exact if r.get("export halves") != "exact"]
    lines = [
        "# Families",
        "",
        f"Every decoder of transformers {version} that its own configuration class makes tiny, "
        "written by `python -m benchmarks.families --page docs/families.md`. Exact means: losses "
        "without some layers, and without some halves, within 1e-4 nats of a plain forward; the "
        "exported checkpoint loaded by stock transformers without a missing or an unexpected "
        "weight, its losses within 1e-4, and generated the same with a cache and without. Of "
        f"{built} that could be built {len(exact)} are exact, {len(by.get('measured', ()))} are "
        f"measured exactly and not exported, {len(by.get('refused', ()))} are refused before they "
        f"are measured, {len(by.get('wrong', ()))} go wrong.",
        "",
        f"**Whole layers and halves** ({len(whole)}): {', '.join(whole)}.",
    ]
    for title, some in (
        (f"Whole layers; halves are refused ({len(rest)})", rest),
        ("Measured, not exported", by.get("measured", ())),
        ("Refused", by.get("refused", ())),
        ("Wrong", by.get("wrong", ())),
        ("Not built so small", by.get("not built", ())),
    ):
        if some:
            lines += ["", f"## {title}", "", "| family | why |", "|---|---|"]
            lines += [f"| `{r['family']}` | {reason(r)} |" for r in some]
    return "\n".join(lines) + "\n"
