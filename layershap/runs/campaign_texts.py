"""What each campaign of a run measures, and what repaired sets are fitted on."""

from __future__ import annotations

from functools import cached_property

from decoder import ModelSpec, TokenText, Workload, load_tokenizer
from decoder.data.text import text_fingerprint
from decoder.model.loading import load_config
from layershap.runs.config import RunConfig
from layershap.runs.recorded import HELDOUT, REPAIRED, REPAIRED_HELDOUT
from layershap.runs.texts import REPAIRED_TEXT, Texts, load_fitting_text, load_texts
from layershap.runs.utilities import parse_utilities
from layershap.terminal.console import Console

__all__ = ["REPAIRED_CAMPAIGNS", "CampaignTexts"]

REPAIRED_CAMPAIGNS = (REPAIRED, REPAIRED_HELDOUT)


class CampaignTexts:
    """The texts of one run, each read when first needed.

    Args:
        config: of the run.
        spec: how to load the model, whose tokenizer reads the text.
        console: who tells a person.
    """

    def __init__(self, config: RunConfig, spec: ModelSpec, console: Console) -> None:
        self._config, self._spec, self._console = config, spec, console

    @cached_property
    def texts(self) -> Texts:
        """The calibration and the held-out text and tasks."""
        with self._console.status("reading text"):
            tokenizer = load_tokenizer(self._spec)
            text = load_config(self._spec).get_text_config(decoder=True)
            return load_texts(self._config, tokenizer, text)

    @cached_property
    def fitted(self) -> TokenText:
        """What repaired sets are fitted on: calibration text that no search measures on.

        Raises:
            TextError: there is no more of it.
        """
        return self._more(self._config.repair.tokens, apart=True)

    @cached_property
    def repaired(self) -> TokenText:
        """What repaired sets are measured on: the calibration text, and as much again of it."""
        return self._more(REPAIRED_TEXT * self.texts.calibration.tokens.size, apart=False)

    def workload(self, name: str) -> Workload:
        """What a campaign measures: on text to search on only if a utility asks for it."""
        c, texts = self._config, self.texts
        if name in (HELDOUT, REPAIRED_HELDOUT):
            return Workload(texts.heldout, texts.heldout_tasks)
        text = None
        if any(u.file is None for u in parse_utilities(c.utilities)):
            text = self.repaired if name == REPAIRED else texts.calibration
        return Workload(text, texts.calibration_tasks, c.measure.score_share, c.measure.seed)

    def details(self, name: str) -> dict[str, str | float]:
        """Say what a campaign's text and tasks are, for people."""
        workload = self.workload(name)
        found: dict[str, str | float] = {}
        if (text := workload.text) is not None:
            found["text"] = text.source
            found["sequences"] = f"{len(text.tokens)} x {text.tokens.shape[1]} tokens"
            found["score_share"] = workload.score_share
        if name in REPAIRED_CAMPAIGNS:
            found["repaired"] = f"{self.fitted.tokens.size} tokens of {self.fitted.source}"
        for task in workload.tasks:
            found[task.name] = f"{len(task.gold_row)} items of {task.source}"
        return found

    def repair_fingerprint(self, name: str) -> list[str]:
        """What a measurement depends on beside its text: how sets are repaired, if they are."""
        if name not in REPAIRED_CAMPAIGNS:
            return []
        from decoder.recovery.game import REPAIRED_VERSION

        return [f"repaired {REPAIRED_VERSION} on {text_fingerprint(self.fitted.tokens)}"]

    def _more(self, tokens: int, *, apart: bool) -> TokenText:
        text = load_config(self._spec).get_text_config(decoder=True)
        tokenizer = load_tokenizer(self._spec)
        return load_fitting_text(self._config, tokenizer, text, tokens, apart=apart)
