import threading
import time
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest

import sampling
from cluster import Ledger, Policy, Summary, WorkerFailed, WorkerPool, WorkerRefused, measure
from cluster.scheduler.events import Measured
from tests.support import cluster_toys as toys

ROWS = sampling.enumerate_all(6)
pytestmark = pytest.mark.usefixtures("ray_address")


def test_one_worker_and_two_write_the_same_table_and_resuming_measures_the_rest(tmp_path):
    factory = toys.Toy(nan=sampling.keys(ROWS[:1])[0])
    seen = []
    with Ledger(tmp_path / "one" / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)
        first = measure(campaign, factory, ROWS[::2], workers=1)
        assert (first.measured, first.skipped, first.non_finite) == (32, 0, 1)
        again = np.concatenate([ROWS, ROWS[:9]])  # repeated rows count once
        second = measure(campaign, factory, again, workers=1, progress=seen.append)
        assert (second.measured, second.skipped, second.non_finite) == (32, 32, 1)
        third = measure(campaign, factory, ROWS, workers=1)
        assert (third.measured, third.skipped, third.deaths) == (0, 64, 0)
        assert (campaign.read().times_measured == 1).all()
        assert [event.detail["missing"] for event in ledger.events("run started")] == [32, 32]
        one = toys.table(ledger)
    with Ledger(tmp_path / "two" / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)
        summary = measure(campaign, factory, ROWS, workers=2)
        assert (summary.measured, summary.non_finite, summary.failed) == (64, 1, 0)
        assert summary.rate > 0
        records = campaign.read(ROWS)
        assert records.ok.tolist() == [False] + [True] * 63
        np.testing.assert_allclose(records.utilities[1:], toys.utility(ROWS[1:]), rtol=1e-12)
        assert toys.table(ledger) == one
    assert seen[0].done == 32
    assert seen[-1].done == seen[-1].total == 64
    assert seen[-1].seconds_left == 0
    assert max(progress.workers for progress in seen) == 1
    assert all(before.done <= after.done for before, after in pairwise(seen))


def test_an_error_of_the_factory_is_told_once(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)
        with pytest.raises(WorkerRefused, match="ValueError: no such model: toy/13b") as caught:
            measure(campaign, toys.Toy(broken_factory=True), ROWS, workers=1)
        assert "\n" not in str(caught.value)
        (event,) = ledger.events("factory failed")
        assert "cluster_toys.py" in event.detail["trace"]
        assert not ledger.events("worker died")
        assert campaign.counts().total == 0


def test_an_error_of_the_evaluator_is_not_hidden(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)
        with pytest.raises(WorkerFailed, match="IndexError: layer 99 does not exist"):
            measure(campaign, toys.Toy(broken_measure=True), ROWS, workers=1)
        assert "in measure" in ledger.events("evaluator failed")[0].detail["trace"]
        assert ledger.events("run stopped")[0].detail["reason"] == "WorkerFailed"
        assert campaign.counts().total == 0


def test_an_interrupted_run_keeps_what_arrived_and_goes_on(tmp_path):
    def interrupt(progress):
        if progress.done >= 8:
            raise KeyboardInterrupt

    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)
        factory = toys.Toy(seconds_each=0.02)
        with pytest.raises(KeyboardInterrupt):
            measure(
                campaign,
                factory,
                ROWS,
                workers=1,
                policy=Policy(chunk_seconds=0.1),
                progress=interrupt,
            )
        kept = campaign.counts().ok
        assert 8 <= kept < 64
        summary = measure(campaign, factory, ROWS, workers=1)
        assert (summary.measured, summary.skipped) == (64 - kept, kept)
        assert (campaign.read().times_measured == 1).all()


def test_a_worker_for_which_no_node_has_room(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)
        with pytest.raises(ValueError, match=r"needs 1 CPU and 1 GPU.* have 2 CPU 0 GPU"):
            measure(campaign, WorkerPool(toys.Toy(), gpus_per_worker=1), ROWS)
        with pytest.raises(ValueError, match="workers must be at least 1"):
            measure(campaign, toys.Toy(), ROWS, workers=0)
        lock = threading.Lock()
        with pytest.raises(ValueError, match="factory cannot be sent"):
            measure(campaign, lambda: lock, ROWS, workers=1)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Small:
    """Has room for few coalitions at a time, or for none, or none to start with."""

    most: int

    def __call__(self):
        if self.most < 0:
            raise MemoryError("Unable to allocate 9 GiB")
        return self

    def measure(self, coalitions):
        if len(coalitions) > self.most:
            raise MemoryError(f"no room for {len(coalitions)}")
        return toys.metrics(coalitions)


def test_chunks_that_do_not_fit_into_memory_are_measured_in_parts(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)
        summary = measure(campaign, Small(3), ROWS, workers=1)
        assert (summary.measured, summary.failed, summary.deaths) == (64, 0, 0)
        assert summary.halved == summary.retries >= 1
        sizes = [event.detail["coalitions"] for event in ledger.events("out of memory")]
        assert sizes == [4] * len(sizes)  # later chunks are small enough from the start
        assert "did not fit into a worker's memory" in summary.sentences()[0]
        assert (campaign.read().times_measured == 1).all()


@pytest.mark.parametrize("most", [0, -1])
def test_memory_that_is_too_short_for_anything_ends_the_run_with_a_remedy(tmp_path, most):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)
        with pytest.raises(WorkerFailed, match="give --memory or fewer workers") as caught:
            measure(campaign, Small(most), ROWS, workers=1)
        assert "\n" not in str(caught.value)


@dataclass(frozen=True)
class Picky:
    """Takes no coalition."""

    def __call__(self):
        return self

    def measure(self, coalitions):
        raise ValueError(f"{coalitions.shape[1]} layers are too many")


def test_input_that_cannot_be_measured_is_refused(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)
        with pytest.raises(WorkerRefused, match="ValueError: 6 layers are too many"):
            measure(campaign, Picky(), ROWS, workers=1)


class Echo(WorkerPool):
    """Delivers every answer twice, the second time after the chunk is closed."""

    def wait(self, seconds):
        news = super().wait(seconds)
        late = getattr(self, "late", [])
        self.late = [one for one in news if isinstance(one, Measured)]
        return [*news, *self.late, *late]


def test_an_answer_that_comes_twice_counts_once(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger, Echo(toys.Toy(), workers=1) as pool:
        campaign = toys.campaign(ledger)
        summary = measure(campaign, pool, ROWS[:40])
        assert summary.measured == 40
        assert summary.hired == 1
        assert 0 < summary.busy <= 1
        pool.late = []
        assert measure(campaign, pool, ROWS).measured == 24
        assert (campaign.read().times_measured == 1).all()


def test_the_order_of_the_caller(tmp_path):
    backwards = ROWS[::-1]
    for order in ("given", "shared"):
        with Ledger(tmp_path / order / "ledger.sqlite") as ledger:
            campaign = toys.campaign(ledger)
            measure(campaign, toys.Toy(), backwards, workers=1, order=order)
            keys = [key for (key,) in ledger.fetch("SELECT key FROM measurements ORDER BY rowid")]
        expected = backwards
        if order == "shared":
            expected = expected[sampling.lexicographic_order(expected)]
        assert keys == sampling.keys(expected)


@dataclass(frozen=True)
class Uneven:
    """The worker that builds it first is a hundred times as slow as the others."""

    folder: str

    def __call__(self):
        try:
            open(f"{self.folder}/slow", "x").close()
        except FileExistsError:
            return replace(toys.Toy(), seconds_each=0.01)()
        return replace(toys.Toy(), seconds_each=1.0)()


def test_a_slow_worker_does_not_hold_the_end_up(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)
        factory = Uneven(str(tmp_path))
        with WorkerPool(factory, workers=None) as pool:  # as many as the cluster has room for: two
            while len(pool.ready) < 2:
                pool.wait(1.0)
            # Both have shown how fast they are.
            measure(campaign, pool, ROWS[:12], policy=Policy(chunk_seconds=0.1))
            began = time.perf_counter()
            summary = measure(campaign, pool, ROWS, policy=Policy(chunk_seconds=0.1))
            lasted = time.perf_counter() - began
        assert summary.measured == 52
        counts = dict(ledger.fetch("SELECT worker, count(*) FROM measurements GROUP BY worker"))
        assert len(counts) == 2
        assert min(counts.values()) <= 9  # its two first chunks, of unknown length; then no more
        assert lasted < 10


def test_sentences_for_people():
    nothing = Summary(1, 0, 0, 0, 1.0, 1.0)
    assert nothing.sentences() == []
    deaths = replace(nothing, deaths=2, again=14)
    assert deaths.sentences() == [
        "2 workers died and were replaced; 14 coalitions were measured again elsewhere"
    ]
    aside = replace(nothing, attempts=3, quarantined=(("L3", "L5"),))
    assert aside.sentences() == [
        "1 coalition was quarantined: removing L3, L5 killed 3 workers",
    ]
    both = replace(aside, quarantined=(("L3",), ()), deaths=1, again=1, nodes_lost=1)
    assert both.sentences() == [
        "1 machine left the cluster",
        "1 worker died; 1 coalition was measured again elsewhere",
        "2 coalitions were quarantined: removing L3 and removing nothing killed 3 workers each",
    ]
