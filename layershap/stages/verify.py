"""Stage 5: every chosen set and every baseline on text that the search never saw, and its speed.

What is found is `layershap.results.recommendations.Recommendations`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from layershap.errors import RunFailed
from layershap.results.candidates import CANDIDATES
from layershap.results.recommendations import (
    RECOMMENDATIONS,
    BaselineVariant,
    BestBaseline,
    DenseModel,
    Recommendations,
    VerifiedVariant,
)
from layershap.results.set_text import export_command, removal_text
from layershap.runs.recorded import HELDOUT
from layershap.runs.repair import repair_recommended
from layershap.runs.workspace import Workspace
from layershap.stages.contenders import Variant, read_contenders
from layershap.stages.heldout import HeldOut, measure_heldout
from layershap.stages.timing import measure_sizes

__all__ = ["verify"]


def verify(work: Workspace) -> Recommendations:
    """Measure on the held-out text, time, repair, and write `recommendations.json`.

    Args:
        work: the run, searched.

    Raises:
        RunFailed: the dense model's own loss on the held-out text is not finite.
    """
    candidates = CANDIDATES.read(work.directory.path)
    contenders = read_contenders(work, candidates)
    variants = contenders.variants
    held = measure_heldout(work, variants, repaired=candidates.repaired is not None)
    if not math.isfinite(held.mean(Variant(), "nll")):
        raise RunFailed(
            f"model {work.config.title}: the loss of the whole model is not finite on the held-out "
            "text; try --dtype float32"
        )
    sizes = measure_sizes(work, variants)

    def measured(variant: Variant) -> dict[str, Any]:
        """The fields of a verified model that every variant has."""
        return {**held.quality(variant), **vars(sizes[variant])}

    recommendations = []
    for count, chosen in contenders.chosen.items():
        best = candidates.chosen[count]
        rivals = {name: by[count] for name, by in contenders.rivals.items() if count in by}
        names = removal_text(work.players, chosen.removed)
        recommendations.append(
            VerifiedVariant(
                count=count,
                removed=chosen.removed,
                names=names,
                source=best.source,
                calibration_cost=best.cost,
                predicted_utility=best.predicted,
                export=export_command(work.directory.path, names),
                against_best=_against_best(held, chosen, rivals),
                warnings=(*held.warnings(chosen), *_zeroed(sizes[chosen].zeroed)),
                baselines=tuple(
                    BaselineVariant(
                        method=name,
                        removed=rival.removed,
                        names=removal_text(work.players, rival.removed),
                        merges=rival.merges or None,
                        **measured(rival),
                    )
                    for name, rival in rivals.items()
                ),
                **measured(chosen),
            )
        )
    found = Recommendations(
        fingerprint=work.campaign(HELDOUT).fingerprint,
        text=work.texts.heldout.source,
        tokens=int(work.texts.heldout.predicted.sum()),
        noun=work.config.noun,
        players=work.players,
        dense=DenseModel(parameters=work.model.num_parameters(), **measured(Variant())),
        recommendations=tuple(recommendations),
    )
    if work.config.repair.enabled:
        found = repair_recommended(work, found)
    RECOMMENDATIONS.write(work.directory.path, found)
    for item in recommendations:
        for sentence in item.warnings:
            work.console.warn(f"without {item.names} {sentence}")
    return found


def _zeroed(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    return [f"zeroes {', '.join(names)}, which saves nothing in a stock checkpoint."]


def _against_best(
    held: HeldOut, chosen: Variant, rivals: Mapping[str, Variant]
) -> BestBaseline | None:
    """The set beside the baseline that is best on the held-out text itself, in its own favour."""
    apart = {
        name: held.compared(chosen, rival) or held.difference(chosen, rival)
        for name, rival in rivals.items()
    }
    finite = {name: ends for name, ends in apart.items() if math.isfinite(ends[0])}
    if not finite:
        return None
    name = max(finite, key=lambda method: finite[method][0])
    difference, lower, upper = finite[name]
    return BestBaseline(
        method=name,
        removed=rivals[name].removed,
        difference=difference,
        lower=lower,
        upper=upper,
    )
