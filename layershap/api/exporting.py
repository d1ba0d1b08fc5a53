"""Smaller models of a run from Python: repaired, written as checkpoints, loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from layershap.errors import UserError
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from decoder.surgery.export import Export
    from layershap.results.repairs import KeptRepair
    from layershap.runs.workspace import Workspace

__all__ = ["SmallerModels"]

Repair = bool | str | None
"""None or False for no repair, True for the newest or the best one, or a method's name."""


class SmallerModels:
    """Makes smaller models of one run.

    Args:
        directory: of the run.
        config: its configuration.
        progress: whether to show progress on standard error.
    """

    def __init__(self, directory: RunDirectory, config: RunConfig, *, progress: bool) -> None:
        self._directory, self._config, self._progress = directory, config, progress

    def repair(
        self, removed: Sequence[int], method: str, text: str | None, tokens: int, module: bool
    ) -> KeptRepair:
        """Fit, confirm and keep the repair of a set; the arguments are those of `fit_set`."""
        from layershap.export.repaired import fit_set
        from layershap.runs.repair import check_method

        with self._work() as work:
            check_method(method, "method")
            return fit_set(work, removed, method, text=text, tokens=tokens, module=module)

    def export(self, removed: Sequence[int], to: Path, repair: Repair, module: bool) -> Export:
        """Write and check a checkpoint without some players.

        Args:
            removed: player indices.
            to: directory to make.
            repair: see `Repair`.
            module: write matrices at the cuts that no stock checkpoint can hold.

        Raises:
            UserError: nobody would go, or nobody would stay, or there is no such repair.
            ModelError: the directory is taken, or the checkpoint does not agree.
        """
        from decoder.checkpoint.saving import refuse_taken
        from layershap.export.export import export_set
        from layershap.export.repaired import export_repair, kept_or_fitted
        from layershap.export.sources import check_weights

        if module and not repair:
            raise UserError("module: allows what repair fits; give repair as well")
        with self._work() as work:
            refuse_taken(to)
            check_weights(work)
            if not repair:
                return export_set(work, removed, to, where="remove")
            method = repair if isinstance(repair, str) else None
            return export_repair(work, kept_or_fitted(work, removed, method, module=module), to)

    def load(self, removed: Sequence[int], repair: Repair, module: bool) -> PreTrainedModel:
        """Export to a temporary directory and load from there; the arguments are `export`'s."""
        from decoder import ModelSpec
        from decoder.recovery.modules import load_with_matrices

        own = self._config.model
        with TemporaryDirectory(prefix="layershap-") as folder:
            to = Path(folder) / "model"
            self.export(removed, to, repair, module)
            spec = ModelSpec(str(to), own.dtype, own.device, own.trust_remote_code)
            return load_with_matrices(spec)

    @contextmanager
    def _work(self) -> Iterator[Workspace]:
        from decoder.checkpoint.saving import Unwritable
        from layershap.runs.workspace import open_workspace
        from layershap.terminal.console import Console

        console = Console(quiet=not self._progress)
        try:
            with open_workspace(self._config, self._directory, console) as work:
                yield work
        except (Unwritable, UserError) as error:
            # What the command line calls --to is an argument here.
            raise type(error)(str(error).removeprefix("--")) from None
