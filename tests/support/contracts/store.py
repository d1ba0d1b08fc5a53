"""The contract of the store of measurements, `cluster.Ledger` with its campaigns."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import sampling
from cluster import CampaignMismatch, LedgerLocked
from tests.support import cluster_toys as toys

__all__ = ["StoreContract"]

ROWS = sampling.enumerate_all(6)


class StoreContract:
    """A store keeps measurements: whole, once, and for whoever comes after.

    - Order: records are read in the order asked, and all of them by the number of players
      removed, whatever the order in which they were recorded.
    - Ownership: one writer a run, refused to everybody else while it is open; any number of
      readers, who see every recorded row at once and never half a batch.
    - Threads: an open store belongs to the thread that opened it; others open their own.
    - Resuming: the next writer finds every row; what is missing is told by coalition; a row
      recorded again keeps its first value. Another fingerprint is refused.

    Fixture: `opened`, which opens the same store: `opened()` to write, `opened(readonly=True)`.
    """

    def test_order_is_not_that_of_recording(self, opened):
        with opened() as store:
            campaign = toys.campaign(store)
            for rows in (ROWS[40:], ROWS[:9], ROWS[9:40]):
                campaign.record(rows, toys.metrics(rows))
            everything = campaign.read()
            assert (np.diff((~everything.coalitions).sum(axis=1)) >= 0).all()
            order = np.random.default_rng(0).permutation(len(ROWS))
            records = campaign.read(ROWS[order])
            np.testing.assert_array_equal(records.coalitions, ROWS[order])
            np.testing.assert_allclose(records.utilities, toys.utility(ROWS[order]))

    def test_one_writer_and_any_number_of_readers(self, opened):
        with opened() as store:
            campaign = toys.campaign(store)
            campaign.record(ROWS[:5], toys.metrics(ROWS[:5]))
            with pytest.raises(LedgerLocked):
                opened()
            with opened(readonly=True) as one, opened(readonly=True) as two:
                campaign.record(ROWS[5:8], toys.metrics(ROWS[5:8]))
                for reader in (one, two):
                    assert len(reader.campaign("calibration").read()) == 8
        with opened():
            pass

    def test_readers_in_other_threads_see_whole_batches(self, opened):
        seen: list[list[int]] = [[], [], []]
        failures: list[BaseException] = []
        with opened() as store:
            campaign = toys.campaign(store)
            done = threading.Event()

            def look(counts):
                try:
                    with opened(readonly=True) as reader:
                        while not done.is_set():
                            counts.append(len(reader.campaign("calibration").read()))
                        counts.append(len(reader.campaign("calibration").read()))
                except BaseException as error:
                    failures.append(error)

            threads = [threading.Thread(target=look, args=(counts,)) for counts in seen]
            for thread in threads:
                thread.start()
            for start in range(0, 64, 8):
                campaign.record(ROWS[start : start + 8], toys.metrics(ROWS[start : start + 8]))
            done.set()
            for thread in threads:
                thread.join()
        assert failures == []
        for counts in seen:
            assert counts == sorted(counts)
            assert counts[-1] == 64
            assert {count % 8 for count in counts} == {0}

    def test_the_next_writer_goes_on(self, opened):
        with opened() as store:
            toys.campaign(store).record(ROWS[:20], toys.metrics(ROWS[:20]))
        with opened() as store:
            campaign = toys.campaign(store)
            assert campaign.missing(ROWS).tolist() == [False] * 20 + [True] * 44
            campaign.record(ROWS[10:], toys.metrics(ROWS[10:]))
            before = toys.table(store)
            campaign.record(ROWS[:3], toys.metrics(ROWS[3:6]))
            assert toys.table(store) == before
            assert not campaign.missing(ROWS).any()

    def test_somebody_elses_campaign_is_refused(self, opened):
        with opened() as store:
            toys.campaign(store)
            with pytest.raises(CampaignMismatch):
                store.open_campaign(
                    "calibration", "0" * 8, toys.PLAYERS, toys.COLUMNS, {"model": "toy"}
                )
