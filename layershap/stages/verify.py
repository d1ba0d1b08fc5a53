"""Stage 5: every chosen set and every baseline on text that the search never saw, and its speed.

`recommendations.json`: `fingerprint` of the held-out campaign, `text` (its sources) and `tokens`,
`noun` and `players`, `dense` (the whole model: quality and speed as below, `parameters`) and
`recommendations`, one a count:

- `count`, `removed` (player indices), `names` (as `--remove` takes them), `source`,
  `calibration_cost` and `predicted_utility` of the search, `parameters_saved`, `export` (the
  command that writes the checkpoint);
- quality: `nll`, `perplexity`, `difference` to the whole model in nats per token with
  `difference_lower` and `difference_upper` (paired, 95 %), `kl`, `top1`; `texts`, one a source of
  the text: `name`, `tokens`, `difference`, `lower`, `upper`; `tasks`, by metric: `value`,
  `difference`, `lower`, `upper`;
- `speed`, unless `--speed-rounds 0`: the fields of `decoder.cost.speed.Speed`, of the model as
  `layershap export` writes it (merged layers apart);
- `against_best`: the baseline of this count that costs least on this very text, which favours it:
  `method`, `removed`, and `difference` (this set minus that one), `lower`, `upper`; null without
  baselines;
- `warnings`: what perplexity does not show, a sentence each;
- `baselines`: `method`, `removed`, `names`, `merges` (null unless layers are merged instead of
  dropped), quality, speed and `parameters_saved` of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from layershap.errors import RunFailed
from layershap.results.set_text import export_command, removal_text
from layershap.runs.workspace import HELDOUT, Workspace
from layershap.stages.contenders import Variant, read_contenders
from layershap.stages.heldout import HeldOut, measure_heldout
from layershap.stages.timing import measure_sizes

__all__ = ["verify"]

Facts = dict[str, Any]


def verify(work: Workspace) -> Facts:
    """Measure on the held-out text, time, and write `recommendations.json`.

    Raises:
        RunFailed: the dense model's own loss on the held-out text is not finite.
    """
    candidates = work.directory.read_json(work.directory.candidates, "search")
    contenders = read_contenders(work, candidates)
    variants = contenders.variants
    held = measure_heldout(work, variants)
    if not math.isfinite(held.mean(Variant(), "nll")):
        raise RunFailed(
            f"model {work.config.title}: the loss of the whole model is not finite on the held-out "
            "text; try --dtype float32"
        )
    sizes = measure_sizes(work, variants)
    facts = {variant: held.facts(variant) | sizes[variant] for variant in variants}
    recommendations = []
    for count, chosen in contenders.chosen.items():
        best = candidates["sets"][str(count)][0]
        rivals = {name: by[count] for name, by in contenders.rivals.items() if count in by}
        names = removal_text(work.players, chosen.removed)
        recommendations.append(
            {
                "count": count,
                "removed": list(chosen.removed),
                "names": names,
                "source": best["source"],
                "calibration_cost": best["cost"],
                "predicted_utility": best["predicted"],
                **facts[chosen],
                "export": export_command(work.directory.path, names),
                "against_best": _against_best(held, chosen, rivals),
                "warnings": held.warnings(chosen),
                "baselines": [
                    {
                        "method": name,
                        "removed": list(rival.removed),
                        "names": removal_text(work.players, rival.removed),
                        "merges": rival.merges or None,
                        **facts[rival],
                    }
                    for name, rival in rivals.items()
                ],
            }
        )
    content = {
        "fingerprint": work.campaign(HELDOUT).fingerprint,
        "text": work.texts.heldout.source,
        "tokens": int(work.texts.heldout.predicted.sum()),
        "noun": work.config.noun,
        "players": list(work.players),
        "dense": {**facts[Variant()], "parameters": work.model.num_parameters()},
        "recommendations": recommendations,
    }
    work.directory.write_json(work.directory.recommendations, content)
    for item in recommendations:
        for sentence in item["warnings"]:
            work.console.warn(f"without {item['names']} {sentence}")
    return content


def _against_best(held: HeldOut, chosen: Variant, rivals: Mapping[str, Variant]) -> Facts | None:
    """The set beside the baseline that is best on the held-out text itself, in its own favour."""
    costs = {name: held.mean(rival, "nll") for name, rival in rivals.items()}
    finite = {name: cost for name, cost in costs.items() if math.isfinite(cost)}
    if not finite:
        return None
    name = min(finite, key=lambda method: finite[method])
    difference, lower, upper = held.difference(chosen, rivals[name])
    return {
        "method": name,
        "removed": list(rivals[name].removed),
        "difference": difference,
        "lower": lower,
        "upper": upper,
    }
