"""What the stages of one run share: model, texts, ledger, workers; each made when first needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from layershap.config import RunConfig
from layershap.console import Console
from layershap.directory import RunDirectory
from layershap.texts import Texts, load_texts
from llm.loading import ModelSpec, load_model, load_tokenizer

if TYPE_CHECKING:
    from cluster import Campaign, Crew, Ledger, Summary
    from llm import TokenText

__all__ = ["Workspace", "open_workspace"]

CALIBRATION, HELDOUT = "calibration", "heldout"


class Workspace:
    """Everything that a stage may ask for; use `open_workspace`."""

    def __init__(
        self, config: RunConfig, directory: RunDirectory, console: Console, stack: ExitStack
    ) -> None:
        self.config = config
        self.directory = directory
        self.console = console
        self._stack = stack
        self._crews: dict[str, Crew] = {}
        self._connected = False

    @cached_property
    def spec(self) -> ModelSpec:
        """How to load the model."""
        c = self.config
        return ModelSpec(c.model_name, c.dtype, c.device, c.trust_remote_code, c.revision)

    @cached_property
    def model(self) -> Any:
        """The driver's own copy, for fingerprints, scores, speed and export."""
        with self.console.status(f"loading {self.config.title}"):
            return load_model(self.spec)

    @cached_property
    def players(self) -> tuple[str, ...]:
        """Names of the layers."""
        from llm import find_stack, layer_players

        return layer_players(find_stack(self.model))

    @cached_property
    def texts(self) -> Texts:
        """The calibration and the held-out text."""
        with self.console.status("reading text"):
            tokenizer = load_tokenizer(self.spec)
            return load_texts(
                self.config, tokenizer, self.model.config.get_text_config(decoder=True)
            )

    def text(self, name: str) -> TokenText:
        """The text of a campaign."""
        return self.texts.calibration if name == CALIBRATION else self.texts.heldout

    @cached_property
    def ledger(self) -> Ledger:
        """The run's ledger, locked for writing until the workspace closes."""
        from cluster import Ledger

        self.directory.create()
        return self._stack.enter_context(Ledger(self.directory.ledger))

    def campaign(self, name: str) -> Campaign:
        """The campaign of one of the two texts, its fingerprint checked.

        Raises:
            cluster.CampaignMismatch: the directory holds measurements of something else.
        """
        if name not in self._campaigns:
            text = self.text(name)
            self._campaigns[name] = self.ledger.open_campaign(
                name,
                self.fingerprint(name),
                self.players,
                text.predicted.tolist(),
                {
                    "model": self.config.title,
                    "weights": self._model_fingerprint,
                    "text": text.source,
                    "sequences": f"{len(text.tokens)} x {text.tokens.shape[1]} tokens",
                    "dtype": str(self.model.dtype).removeprefix("torch."),
                    "device": self.model.device.type,
                },
            )
        return self._campaigns[name]

    def fingerprint(self, name: str) -> str:
        """Content hash of all that a measurement on this text depends on."""
        from llm.fingerprint import combine, text_fingerprint

        text = text_fingerprint(self.text(name).tokens)
        dtype, device = str(self.model.dtype), self.model.device.type
        return combine(self._model_fingerprint, text, self.players, dtype, device)

    def measure(
        self, name: str, coalitions: Bool[np.ndarray, "B n"], task: str | None = None
    ) -> Summary | None:
        """Measure what the ledger does not have yet, with a progress bar if `task` names one."""
        from cluster import measure

        campaign = self.campaign(name)
        if not campaign.missing(coalitions).any():
            return None
        crew = self._crew(name)
        with self.console.progress(task) as update:
            return measure(campaign, crew, coalitions, progress=update)

    def close_workers(self) -> None:
        """End all worker processes; what runs next has the machine for itself."""
        for crew in self._crews.values():
            crew.close()
        self._crews.clear()

    @property
    def workers(self) -> int:
        """Number of model replicas."""
        if self.config.workers:
            return self.config.workers
        if self.model.device.type == "cuda":
            import torch

            return torch.cuda.device_count()
        cores = os.cpu_count() or 1
        return max(1, min(4, cores // self.config.cpus_per_worker))

    @cached_property
    def _campaigns(self) -> dict[str, Campaign]:
        return {}

    @cached_property
    def _model_fingerprint(self) -> str:
        from llm.fingerprint import model_fingerprint

        return model_fingerprint(self.model)

    def _crew(self, name: str) -> Crew:
        """Workers that hold the model and one text; at most one crew at a time has the machine."""
        from cluster import Crew, connect
        from llm import build_evaluator

        if not self._connected:
            with self.console.status("connecting" if self.config.address else "starting Ray"):
                self._stack.enter_context(connect(self.config.address, self.workers, **self._share))
            self._connected = True
        if name not in self._crews:
            self.close_workers()
            factory = partial(build_evaluator, self.spec, self.text(name).tokens)
            crew = Crew(factory, workers=self.workers, **self._share)
            self._crews[name] = self._stack.enter_context(crew)
        return self._crews[name]

    @property
    def _share(self) -> dict[str, Any]:
        return {
            "cpus_per_worker": self.config.cpus_per_worker,
            "gpus_per_worker": self._gpus_per_worker(),
        }

    def _gpus_per_worker(self) -> float:
        if self.config.gpus_per_worker is not None:
            return self.config.gpus_per_worker
        return 1.0 if self.model.device.type == "cuda" else 0.0


@contextmanager
def open_workspace(
    config: RunConfig, directory: RunDirectory, console: Console
) -> Iterator[Workspace]:
    """A workspace whose ledger and workers are given back at the end, however it ends."""
    with ExitStack() as stack:
        yield Workspace(config, directory, console, stack)
