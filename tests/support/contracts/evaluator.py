"""The contract of `cluster.scheduler.worker.Evaluator`."""

from __future__ import annotations

import numpy as np

from cluster.scheduler.worker import Evaluator

__all__ = ["EvaluatorContract"]


class EvaluatorContract:
    """An evaluator measures coalitions on one device, whatever chunks they come in.

    - The answer has every column of the campaign by name, float32 ``[B, W]``, one row a coalition
      in the order asked; W is the number of weights of the column.
    - A coalition's numbers are the same bits in any chunk, in any order, and when asked again:
      a campaign may be interrupted, divided and gone on with anywhere.
    - Memory that it is given may be read-only, and is not kept.

    Fixtures: `evaluator`; `columns`, the widths by name; `coalitions`, at least six rows.
    """

    def test_it_measures_every_column(self, evaluator, columns, coalitions):
        assert isinstance(evaluator, Evaluator)
        found = evaluator.measure(coalitions)
        assert {name: values.shape for name, values in found.items()} == {
            name: (len(coalitions), width) for name, width in columns.items()
        }
        assert {values.dtype for values in found.values()} == {np.dtype(np.float32)}

    def test_chunks_change_no_bit(self, evaluator, coalitions):
        whole = self.bits(evaluator, coalitions)
        parts = [self.bits(evaluator, coalitions[i : i + 1]) for i in range(3)]
        assert [bits for part in parts for bits in part] == whole[:3]
        order = np.random.default_rng(0).permutation(len(coalitions))
        assert self.bits(evaluator, coalitions[order]) == [whole[i] for i in order]
        assert self.bits(evaluator, coalitions) == whole

    def test_what_it_is_given_is_not_kept(self, evaluator, coalitions):
        given = coalitions.copy()
        wanted = self.bits(evaluator, coalitions)
        found = evaluator.measure(given)
        given[:] = ~given
        assert self.rows(found) == wanted

    def bits(self, evaluator, coalitions):
        return self.rows(evaluator.measure(coalitions))

    def rows(self, found):
        names = sorted(found)
        count = len(found[names[0]])
        return [tuple(found[name][i].tobytes() for name in names) for i in range(count)]
