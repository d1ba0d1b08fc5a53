"""What the stages of one run share: model, texts, ledger, workers; each made when first needed."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from cluster import Column
from decoder import (
    MeasureOptions,
    ModelSpec,
    Roster,
    UnsupportedModel,
    Workload,
    build_evaluator,
    load_model,
    make_roster,
    pick_device,
)
from decoder.cost.relative import head_cost, player_costs
from layershap.errors import UserError
from layershap.results.set_text import removal_text
from layershap.runs.campaign_texts import REPAIRED_CAMPAIGNS, CampaignTexts
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory
from layershap.runs.incumbent import IncumbentTracker
from layershap.runs.machine import described
from layershap.runs.plan import make_plan
from layershap.runs.recorded import CALIBRATION, MEASURED_ON, RecordedRun
from layershap.runs.texts import Texts
from layershap.runs.utilities import Utility, parse_utilities
from layershap.terminal.console import Console
from layershap.terminal.log_file import logged
from layershap.terminal.progress_file import ProgressWriter
from layershap.terminal.signals import kept_handler

if TYPE_CHECKING:
    import torch

    from cluster import Campaign, Ledger, Summary, WorkerPool
    from decoder import Footprint
    from decoder.cost.player_costs import PlayerCosts

__all__ = ["Workspace", "open_workspace"]


class Workspace:
    """Everything that a stage may ask for; use `open_workspace`."""

    def __init__(
        self, config: RunConfig, directory: RunDirectory, console: Console, stack: ExitStack
    ) -> None:
        self.config = config
        self.directory = directory
        self.console = console
        self._stack = stack
        self._pools: dict[str, WorkerPool] = {}
        self._campaigns: dict[str, Campaign] = {}
        self._connected = False

    @cached_property
    def spec(self) -> ModelSpec:
        """How to load the model."""
        c = self.config.model
        shared = (c.dtype, c.device, c.trust_remote_code, c.revision, c.tokenizer)
        return ModelSpec(self.config.model_name, *shared)

    @cached_property
    def device(self) -> torch.device:
        """Where the model is measured; on a cluster, what its workers are asked to have."""
        import torch

        wanted = self.spec.device
        if wanted == "auto" and self.config.cluster.gpus_per_worker:
            return torch.device("cuda")
        if self.config.cluster.address and wanted != "auto":
            return torch.device(wanted.partition(":")[0])
        return pick_device(wanted)

    @cached_property
    def dtype(self) -> str:
        """Precision of the measured model."""
        from decoder import resolve_dtype

        return str(resolve_dtype(self.spec, self.device)).removeprefix("torch.")

    @cached_property
    def footprint(self) -> Footprint:
        """The size of the model, from its files."""
        from decoder import footprint

        with self.console.status(f"looking at {self.config.title}"):
            return footprint(self.spec, self.device)

    @cached_property
    def roster(self) -> Roster:
        """Who plays.

        Raises:
            UserError: the kind of players or the protected ones do not fit the model.
        """
        try:
            depth = self.footprint.layers
            measure = self.config.measure
            return make_roster(measure.players, depth, measure.protect or "")
        except UnsupportedModel:
            raise
        except ValueError as error:
            raise UserError(str(error)) from None

    @property
    def players(self) -> tuple[str, ...]:
        """Names of the players."""
        return self.roster.names

    @cached_property
    def model(self) -> Any:
        """The driver's own copy, for the baselines' scores, speed and export."""
        with self.console.status(f"loading {self.config.title}"):
            return load_model(self.spec)

    @cached_property
    def costs(self) -> PlayerCosts:
        """What each player takes on this machine, timed once."""
        from decoder.cost.player_costs import player_costs

        with self.console.status(f"timing every {self.config.noun} by itself"):
            return player_costs(self.model, self.roster, self.texts.calibration.tokens)

    def release_model(self) -> None:
        """Let the driver's copy go; it is loaded again when it is next asked for."""
        self.__dict__.pop("model", None)

    @cached_property
    def utility(self) -> Utility:
        """What decides."""
        return parse_utilities(self.config.utilities)[0]

    @cached_property
    def campaign_texts(self) -> CampaignTexts:
        """What each campaign measures."""
        return CampaignTexts(self.config, self.spec, self.console)

    @property
    def texts(self) -> Texts:
        """The calibration and the held-out text and tasks."""
        return self.campaign_texts.texts

    def workload(self, name: str) -> Workload:
        """What a campaign measures."""
        return self.campaign_texts.workload(name)

    def named(self, removed: Iterable[int]) -> str:
        """How a person names a set of players on the command line: 4,6 or L4.attn,L6.mlp."""
        return removal_text(self.players, removed)

    @cached_property
    def ledger(self) -> Ledger:
        """The run's ledger, locked for writing until the workspace closes."""
        from cluster import Ledger

        self.directory.create()
        ledger = self._stack.enter_context(Ledger(self.directory.ledger))
        heart = self.console.heart = ProgressWriter(self.directory.path)
        self._stack.callback(heart.stop)
        return ledger

    @cached_property
    def recorded(self) -> RecordedRun:
        """What the directory alone tells of the run, once its calibration campaign is there."""
        self.campaign(CALIBRATION)
        return RecordedRun(self.config, self.directory, self.console, self.ledger)

    def campaign(self, name: str) -> Campaign:
        """The campaign of one of the two texts, its fingerprint checked.

        Raises:
            cluster.CampaignMismatch: the directory holds measurements of something else.
        """
        if name not in self._campaigns:
            workload, roster = self.workload(name), self.roster
            details = {
                "model": self.config.title,
                "weights": self.weights,
                "players": roster.kind,
                "depth": roster.depth,
                "protected": ",".join(roster.protected),
                "dtype": self.dtype,
                "device": self.device.type,
            }
            details |= self.campaign_texts.details(name)
            metrics = [metric.name for metric in workload.metrics]
            self._campaigns[name] = self.ledger.open_campaign(
                name,
                self.fingerprint(name),
                self.players,
                [Column(m.name, m.weights, m.sign) for m in workload.metrics],
                details,
                utility=self.utility.metric if self.utility.metric in metrics else metrics[0],
            )
        return self._campaigns[name]

    def fingerprint(self, name: str) -> str:
        """Content hash of all that a measurement on this text depends on."""
        from decoder.evaluate.fingerprint import combine

        names = [slot.name for slot in self.roster.slots]
        names += [f"protected {name}" for name in self.roster.protected]
        names += self.campaign_texts.repair_fingerprint(name)
        workload = self.workload(name).fingerprint()
        return combine(self.weights, workload, names, self.dtype, self.device.type)

    def measure(
        self, name: str, coalitions: Bool[np.ndarray, "B n"], task: str | None = None
    ) -> Summary | None:
        """Measure what the ledger does not have yet, with a progress bar if `task` names one."""
        from cluster import measure

        campaign = self.campaign(name)
        if not campaign.missing(coalitions).any():
            return None
        pool = self._pool(name)
        note = self.incumbent if task and name == CALIBRATION else None
        with self.console.progress(task, note) as update:
            return measure(
                campaign,
                pool,
                coalitions,
                progress=update,
                order=self.config.measure.order,
                player_costs=player_costs(self.roster),
                head_cost=head_cost(self.footprint, self.roster),
            )

    @cached_property
    def incumbent(self) -> IncumbentTracker:
        """Says the best set that is measured so far."""
        counts = make_plan(self.config, len(self.players)).counts
        return IncumbentTracker(self.campaign(CALIBRATION), counts, self.utility.unit)

    def describe(self) -> None:
        """Record what the run is measured on, for reports that are made without the model."""
        text = self.texts.calibration
        told = {
            "machine": described(self.device, self.workers),
            "warnings": list(self.texts.warnings),
            "alarms": list(self.texts.alarms),
            "calibration": {"source": text.source, "tokens": int(text.predicted.sum())},
        }
        if self.recorded.last_event(MEASURED_ON) != told:
            self.ledger.log_event(MEASURED_ON, **told)

    def close_workers(self) -> None:
        """End all worker processes; what runs next has the machine for itself."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()

    @property
    def options(self) -> MeasureOptions:
        """How the model is measured."""
        c = self.config.measure
        return MeasureOptions(
            c.players, c.protect or "", c.walk, c.micro_batch, c.memory, c.compile
        )

    @property
    def workers(self) -> int | None:
        """Number of model replicas; None for as many as a cluster has room for."""
        if self.config.cluster.workers or self.config.cluster.address:
            return self.config.cluster.workers
        if self.device.type == "cuda":
            import torch

            return max(1, int(torch.cuda.device_count() / (self._gpus_per_worker() or 1.0)))
        cores = os.cpu_count() or 1
        return max(1, min(4, cores // self.config.cluster.cpus_per_worker))

    @cached_property
    def weights(self) -> str:
        """Content hash of the model's weights and configuration."""
        from decoder import checkpoint_fingerprint

        with self.console.status(f"reading the weights of {self.config.title}"):
            return checkpoint_fingerprint(self.spec)

    def _pool(self, name: str) -> WorkerPool:
        """Workers that hold the model and one text; at most one pool at a time has the machine."""
        from cluster import WorkerPool, connect

        if not self._connected:
            waiting = "connecting" if self.config.cluster.address else "starting Ray"
            # Ray would make SIGTERM an ordinary exit.
            kept = kept_handler(signal.SIGTERM)
            with self.console.status(waiting), warnings.catch_warnings(), kept:
                # Ray's processes are forked only to become other programs at once.
                warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
                self._stack.enter_context(
                    connect(self.config.cluster.address, self.workers, **self._share)
                )
            self._connected = True
        if name not in self._pools:
            self.close_workers()
            factory = self._factory(name)
            pool = WorkerPool(factory, workers=self.workers, **self._share)
            self._pools[name] = self._stack.enter_context(pool)
        return self._pools[name]

    def _factory(self, name: str) -> Callable[[], Any]:
        workload = self.workload(name)
        if name not in REPAIRED_CAMPAIGNS:
            return partial(build_evaluator, self.spec, workload, self.options)
        from decoder.recovery.game import build_repaired

        fitted = self.campaign_texts.fitted.tokens
        return partial(build_repaired, self.spec, workload, fitted, self.options)

    @property
    def _share(self) -> dict[str, Any]:
        return {
            "cpus_per_worker": self.config.cluster.cpus_per_worker,
            "gpus_per_worker": self._gpus_per_worker(),
        }

    def _gpus_per_worker(self) -> float:
        if self.config.cluster.gpus_per_worker is not None:
            return self.config.cluster.gpus_per_worker
        return 1.0 if self.device.type == "cuda" else 0.0


@contextmanager
def open_workspace(
    config: RunConfig, directory: RunDirectory, console: Console
) -> Iterator[Workspace]:
    """A workspace whose ledger and workers are given back at the end, however it ends.

    Raises:
        UserError: the run would run a model's code or connect to a cluster, and nobody typed that.
    """
    directory.wish(config).refuse_untyped()
    with logged(directory.path), ExitStack() as stack:
        yield Workspace(config, directory, console, stack)
