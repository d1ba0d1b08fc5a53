"""A cheap repair of many sets: one ridge a cut, on a dense stream that is computed once for all.

A search asks about thousands of sets. What all of them share, the dense model's states at every
layer, is kept; what some share, the repaired stream up to their last common cut, is kept for the
sets that were asked last. The projection before each cut is fitted, the one after it where nothing
stands before.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float64, Int

from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.dense import DenseStream
from decoder.recovery.fitting.path import Cut, Path, find_path
from decoder.recovery.fitting.repaired import RepairedStream
from decoder.recovery.loss import sequence_losses
from decoder.recovery.methods.places import fits_after, fits_before
from decoder.recovery.modules import repaired
from decoder.recovery.repair import Repair
from decoder.surgery.edit import Edit, canonical
from decoder.surgery.patch import make_patch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["QuickRepair"]

_SHARE = 0.5  # of the memory that is left may go to streams that sets share


class QuickRepair:
    """Repairs any set of one model on one text.

    Args:
        model: the original; it is left bit for bit as it is.
        tokens_ST: the calibration text, a few thousand tokens.
        stored: type that the weights will be stored in; the model's own when omitted.
        memory: most GiB to use in all; a share of what is free when omitted.

    Attributes:
        fits: projections fitted so far.
        shared: cuts whose repair was taken over from another set.

    Raises:
        RepairError: the tokens are no sequences, or their states do not fit in memory.
        TextError: the tokens are not the model's.
        UnsupportedModel: its layers cannot be told.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokens_ST: Int[np.ndarray, "S T"],
        *,
        stored: torch.dtype | None = None,
        memory: float | None = None,
    ) -> None:
        self._dense = DenseStream(Anatomy(model), tokens_ST, memory=memory)
        self._dense.at(2 * self._dense.anatomy.depth)
        self._stored = stored
        self._known: OrderedDict[tuple[Cut, ...], RepairedStream] = OrderedDict()
        self._room = max(1, int(_SHARE * self._dense.free // self._dense.bytes))
        self.fits = 0
        self.shared = 0

    def repair(self, edits: Iterable[Edit]) -> Repair:
        """Fit the projections at the cuts of one set.

        Args:
            edits: what makes the smaller model, without merges and patches.

        Returns:
            The repair, of method "quick"; without a patch where no projection can be fitted.

        Raises:
            EditError: the edits contradict each other or do not fit the model.
            RepairError: there are merges, too few tokens, or states that are not finite.
            UnsupportedModel: the halves of the layers cannot be told.
        """
        start = time.perf_counter()
        path = find_path(edits, self._dense.anatomy.depth)
        stream, done = self._shared(path)
        for number in range(done, len(path.cuts)):
            self._bridge(stream, path, number)
        patches = stream.patches(self._stored)
        added = [make_patch(patches)] if patches else []
        seconds = time.perf_counter() - start
        notes = tuple(dict.fromkeys(stream.warnings))
        return Repair("quick", canonical([*path.edits, *added]), patches, notes, seconds)

    def losses(
        self, edits: Iterable[Edit], tokens_ST: Int[np.ndarray, "S T"]
    ) -> Float64[np.ndarray, "S"]:
        """Measure the repaired smaller model on other text.

        Args:
            edits: as for `repair`.
            tokens_ST: the text.

        Returns:
            The mean loss of each sequence, in nats.
        """
        with repaired(self._dense.anatomy.model, self.repair(edits)):
            return sequence_losses(self._dense.anatomy.model, np.asarray(tokens_ST))

    def _shared(self, path: Path) -> tuple[RepairedStream, int]:
        """A stream that has been repaired as far as an earlier set was the same, and its cuts."""
        for count in range(len(path.cuts), 0, -1):
            known = self._known.get(path.cuts[:count])
            if known is not None:
                self._known.move_to_end(path.cuts[:count])
                self.shared += count
                return known.fork(path), count
        return RepairedStream(self._dense, path), 0

    def _bridge(self, stream: RepairedStream, path: Path, number: int) -> None:
        cut, anatomy = path.cuts[number], self._dense.anatomy
        before = fits_before(path, cut, anatomy)
        for half in before or fits_after(path, cut, anatomy):
            stream.fit(half)
            self.fits += 1
        # A fit after the cut depends on where the next one starts, and is not shared.
        alone = all(
            fits_before(path, one, anatomy) or not fits_after(path, one, anatomy)
            for one in path.cuts[: number + 1]
        )
        if alone:
            self._known[path.cuts[: number + 1]] = stream.fork(path)
            while len(self._known) > self._room:
                self._known.popitem(last=False)
