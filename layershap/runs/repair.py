"""What is left of a smaller model fitted to the whole one, chosen and confirmed on other text.

Every method is fitted on two thirds of the calibration text and compared on the other third; the
best is fitted again on all of it and measured on the held-out text, beside the same set without
repair. The ledger holds sets of players, which a repaired model is not: it is kept beside it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from decoder.data.overlap import shared_share
from decoder.data.text import TokenText, text_fingerprint
from decoder.errors import ModelError, RepairError, TextError
from decoder.model.loading import load_config, load_tokenizer, stored_dtype
from decoder.recovery.choose import choose_on, split_sequences
from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.dense import DenseStream
from decoder.recovery.fitting.path import find_path
from decoder.recovery.loss import sequence_losses
from decoder.recovery.methods.catalog import admitted, find_method
from decoder.recovery.modules import repaired
from decoder.recovery.repair import Repair, fit_to
from decoder.surgery.edit import Edits, edits_to_json
from decoder.surgery.plan import plan_edits
from layershap.errors import UserError
from layershap.results.paired_results import PairedResult, RepairedCost
from layershap.results.recommendations import Recommendations
from layershap.results.repairs import KeptRepair, TriedMethod
from layershap.runs.kept_repairs import find_kept, keep
from layershap.runs.recorded import HELDOUT
from layershap.runs.texts import load_fitting_text
from layershap.runs.workspace import Workspace
from layershap.terminal.progress import Progress
from shapley.uncertainty.paired import paired_interval

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float64

__all__ = ["AUTO", "FAST", "Repairer", "check_method", "fitting_text", "repair_recommended"]

AUTO, FAST = "auto", "fast"
_FAST = ("sequential", "down_projection_both")
_WINDOW = 16  # shorter than a sequence, which may begin with a token of its own
_SHARED = 0.02  # of the held-out text, which other text does not hold


def check_method(method: str, option: str) -> None:
    """Refuse a method of repair that there is not.

    Args:
        method: "auto", "fast" or a name.
        option: begins the message.

    Raises:
        UserError: there is none; the nearest names are suggested.
    """
    if method in (AUTO, FAST):
        return
    try:
        find_method(method)
    except RepairError as error:
        raise UserError(f"{option} {str(error).removeprefix('method ')}, {FAST}") from None


def fitting_text(
    work: Workspace, tokens: int, source: str | None = None, option: str = "--tokens"
) -> TokenText:
    """Read the text that weights are fitted on.

    Args:
        work: the run.
        tokens: at most so many.
        source: a file or data set; the run's calibration text when omitted.
        option: begins messages about the tokens.

    Raises:
        TextError: the text is missing, unreadable or too short.
        UserError: there are too few tokens, or the text is the held-out one.
    """
    config = load_config(work.spec).get_text_config(decoder=True)
    text = load_fitting_text(work.config, load_tokenizer(work.spec), config, tokens, source)
    rows, length = text.tokens.shape
    if rows < 3:
        raise UserError(
            f"{option} {tokens}: that is {rows} x {length} tokens of {text.source}, and repair "
            "needs three sequences, of which two fit and one compares; give "
            f"{3 * length} tokens or more, and text enough for them"
        )
    share = 0.0
    if source is not None:
        heldout = work.texts.heldout.tokens
        share = shared_share(heldout.ravel(), text.tokens.ravel(), _WINDOW)
    if share > _SHARED or source in work.config.text.heldout:
        raise UserError(
            f"--text {source}: holds some of the held-out text that repair is confirmed on "
            f"({100 * share:.0f} % of it); give text that the run does not verify with"
        )
    return text


class Repairer:
    """Repairs sets of one run on one text; the dense model's states are computed once for all.

    Args:
        work: the run.
        method: "auto", "fast" or a name.
        text: to fit on, at least three sequences.
        module: compare the methods whose matrices no stock checkpoint can hold as well.

    Raises:
        RepairError: the states of the text do not fit in memory.
        UnsupportedModel: the model's layers cannot be told.
        UserError: the model is quantised.
    """

    def __init__(
        self, work: Workspace, method: str, text: TokenText, *, module: bool = False
    ) -> None:
        refuse_quantised(work)
        self._work, self._method, self._text = work, method, text
        self._module = module
        with work.console.status("running the whole model over the text"):
            self._anatomy = Anatomy(work.model)
            fitted_ST, self._compared_ST = split_sequences(text.tokens)
            self._fitted = self._stream(fitted_ST)

    def repair(self, removed: Sequence[int]) -> KeptRepair:
        """Choose, fit, measure and keep the repair of one set.

        Args:
            removed: player indices.

        Raises:
            RepairError: no method can be fitted, or not the one that was asked for.
        """
        work, began = self._work, time.monotonic()
        removed = tuple(sorted(removed))
        with work.console.status("planning"):
            edits = plan_edits(work.roster, removed, lambda: work.model).edits
        names = self._names(edits)
        chosen, done = None, 0
        with work.console.progress(f"repairing {work.named(removed)}") as update:
            total = len(names) + 2

            def step(_: object = None) -> None:
                nonlocal done
                done += 1
                if update is not None:
                    update(Progress.since(began, done, total))

            chosen = choose_on(
                self._fitted,
                edits,
                self._compared_ST,
                names,
                stored=self._stored,
                progress=step,
                every=False,
            )
            failed = [one for one in chosen.tried if np.isnan(one.cost)]
            if names and len(failed) == len(names):
                raise RepairError("; ".join(failed[0].notes) or "no method can be fitted")
            repair = chosen.repair
            if repair.method != "none":
                repair = fit_to(self._every, edits, repair.method, self._stored)
            step()
        seconds = time.monotonic() - began
        whole = self._whole
        with work.console.status("measuring on the held-out text"):
            deleted = self._losses(Repair("none", edits, {}, (), 0.0))
            after = deleted if repair.method == "none" else self._losses(repair)
        kept = KeptRepair(
            removed=removed,
            names=work.named(removed),
            asked=self._method,
            tried=tuple(
                TriedMethod(method=o.method, cost=o.cost, seconds=o.seconds, notes=o.notes)
                for o in chosen.tried
            ),
            fitted_tokens=chosen.fitted_tokens,
            compared_tokens=chosen.compared_tokens,
            deleted=PairedResult(**_ends(deleted - whole)),
            cost=RepairedCost(
                **_ends(after - whole),
                method=repair.method,
                gain=PairedResult(**_ends(after - deleted)),
                text=self._text.source,
                tokens=int(self._text.tokens.size),
                seconds=seconds,
            ),
            edits=tuple(edits_to_json(repair.edits)),
            patches=None,
            stock=not repair.modules,
            fitted_on=text_fingerprint(self._text.tokens),
            heldout=work.fingerprint(HELDOUT),
            notes=tuple(dict.fromkeys(repair.notes)),
        )
        return keep(work.directory, kept, repair.patches, repair.modules)

    def known(self, removed: Sequence[int]) -> KeptRepair | None:
        """Return what an earlier call kept of the same set, method and text; None without one.

        Args:
            removed: player indices.
        """
        work = self._work
        kept = find_kept(work.directory, removed, work.fingerprint(HELDOUT), self._method)
        same = kept is not None and kept.fitted_on == text_fingerprint(self._text.tokens)
        return kept if same else None

    def _names(self, edits: Edits) -> list[str]:
        path = find_path(edits, self._anatomy.depth)
        possible = admitted(self._anatomy, path, module=self._module)
        if self._method == FAST and (fast := [name for name in _FAST if name in possible]):
            return fast
        if self._method in (AUTO, FAST):
            return [name for name in possible if name != "none"]
        return [self._method]

    def _losses(self, repair: Repair) -> Float64[np.ndarray, "S"]:
        with repaired(self._work.model, repair):
            return self._heldout_losses()

    def _heldout_losses(self) -> Float64[np.ndarray, "S"]:
        text = self._work.texts.heldout
        return sequence_losses(self._work.model, text.tokens, text.scored)

    def _stream(self, tokens_ST: np.ndarray) -> DenseStream:
        return DenseStream(self._anatomy, tokens_ST, memory=self._work.config.measure.memory)

    @cached_property
    def _every(self) -> DenseStream:
        return self._stream(self._text.tokens)

    @cached_property
    def _whole(self) -> Float64[np.ndarray, "S"]:
        with self._work.console.status("measuring the whole model"):
            return self._heldout_losses()

    @property
    def _stored(self) -> torch.dtype | None:
        spec = self._work.spec
        return stored_dtype(spec) if spec.dtype == "auto" else None


def refuse_quantised(work: Workspace) -> None:
    """Refuse a model whose weights cannot be fitted.

    Args:
        work: the run.

    Raises:
        UserError: its weights are quantised.
    """
    if getattr(load_config(work.spec), "quantization_config", None) is not None:
        raise UserError(
            f"model {work.config.title}: its weights are quantised, and repair fits weights; "
            "repair the unquantised model, or leave repair out with --no-repair"
        )


def repair_recommended(work: Workspace, found: Recommendations) -> Recommendations:
    """Repair every recommended set as the run's configuration says; what cannot be stays as it is.

    Args:
        work: the run; its workers are closed.
        found: verified sets.
    """
    asked = work.config.repair
    try:
        text = fitting_text(work, asked.tokens, option="--repair-tokens")
        repairer = Repairer(work, asked.method, text)
        items = []
        for item in found.recommendations:
            kept = repairer.known(item.removed) or repairer.repair(item.removed)
            # What `layershap repair` found since then is the newer one, and exports write it.
            newest = find_kept(work.directory, item.removed, kept.heldout) or kept
            command = item.export if newest.cost.method == "none" else f"{item.export} --repair"
            items.append(replace(item, repair=newest.cost, export=command))
    except (ModelError, RepairError, TextError, UserError) as error:
        work.console.warn(f"the recommended sets are not repaired: {error}")
        return found
    return replace(found, recommendations=tuple(items))


def _ends(difference_S: Float64[np.ndarray, "S"]) -> dict[str, float]:
    """Mean and 95 % interval of differences, sequences weighted alike: all have one length."""
    mean, lower, upper = paired_interval(difference_S, np.ones(len(difference_S)))
    return {"difference": mean, "lower": lower, "upper": upper}
