import os
import resource
import signal
import sqlite3
import subprocess
import sys

import cluster_toys as toys
import numpy as np
import pytest

import sampling
from cluster import CampaignMismatch, Ledger, LedgerCorrupt, LedgerError, LedgerLocked

ROWS = sampling.enumerate_all(6)


def one_line(caught, *words):
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


def test_what_is_recorded_is_read_back_in_order(path):
    with Ledger(path) as ledger:
        campaign = toys.campaign(ledger)
        assert campaign.missing(ROWS).all()
        campaign.record(ROWS[:40], {"nll": toys.nll(ROWS[:40])}, "w", seconds=4.0)
        assert campaign.missing(ROWS).tolist() == [False] * 40 + [True] * 24
    assert not path.with_name("ledger.sqlite-wal").exists()  # one file, safe to copy
    with Ledger(path, readonly=True) as ledger:
        campaign = ledger.campaign("calibration")
        assert campaign.players == toys.PLAYERS
        assert campaign.details == {"model": "toy"}
        asked = ROWS[[7, 3, 39, 3]]
        records = campaign.read(asked)
        assert (records.coalitions == asked).all()
        np.testing.assert_allclose(records.utilities, toys.utility(asked), rtol=1e-12)
        assert (records.nll == toys.nll(asked)).all()
        assert np.isnan(records.kl).all()
        assert records.seconds.tolist() == [0.1] * 4
        everything = campaign.read()
        assert len(everything) == 40
        removed = (~everything.coalitions).sum(axis=1)
        assert (np.diff(removed) >= 0).all()
        with pytest.raises(LedgerError) as caught:
            campaign.read(ROWS[38:42])
        one_line(caught, "2 that", "missing()")
        with pytest.raises(LedgerError, match="opened to read"):
            ledger.note("hello")


def test_a_row_keeps_its_values_and_counts_repeats(path):
    with Ledger(path) as ledger:
        campaign = toys.campaign(ledger)
        campaign.record(ROWS[:4], {"nll": toys.nll(ROWS[:4])})
        assert campaign.counts().repeated == 0
        before = toys.table(ledger)
        campaign.record(ROWS[2:4], {"nll": toys.nll(ROWS[2:4]) + 1})
        assert toys.table(ledger) == before
        assert campaign.read(ROWS[:4]).times_measured.tolist() == [1, 1, 2, 2]
        assert campaign.counts().repeated == 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_a_loss_that_is_not_finite_keeps_its_coalition_and_has_no_utility(path, bad):
    values = toys.nll(ROWS[:3]).astype(np.float64)
    values[1, 2] = bad
    with Ledger(path) as ledger:
        campaign = toys.campaign(ledger)
        campaign.record(ROWS[:3], {"nll": values})
        records = campaign.read(ROWS[:3])
        assert records.status == ("ok", "non-finite", "ok")
        assert records.ok.tolist() == [True, False, True]
        assert not np.isfinite(records.nll[1, 2])
        assert np.isfinite(records.nll[1, :2]).all()
        np.testing.assert_allclose(records.utilities[[0, 2]], toys.utility(ROWS[[0, 2]]))
        assert not campaign.missing(ROWS[:3]).any()
        assert campaign.counts().non_finite == 1


def test_a_sequence_without_tokens_does_not_decide_the_utility(path):
    with Ledger(path) as ledger:
        campaign = ledger.open_campaign("text", "f", toys.PLAYERS, [1, 0, 3], {})
        campaign.record(ROWS[:1], {"nll": np.array([[1.0, np.nan, 2.0]], np.float32)})
        assert campaign.read().utilities.tolist() == [-1.75]


def test_what_was_set_aside_can_be_measured_later(path):
    with Ledger(path) as ledger:
        campaign = toys.campaign(ledger)
        campaign.set_aside(ROWS[5], "w")
        records = campaign.read(ROWS[5:6])
        assert records.status == ("failed",)
        assert np.isnan(records.utilities).all()
        assert records.times_measured.tolist() == [0]
        assert not campaign.missing(ROWS[5:6])[0]
        assert campaign.missing(ROWS[5:6], retry_failed=True)[0]
        campaign.record(ROWS[5:6], {"nll": toys.nll(ROWS[5:6])})
        campaign.set_aside(ROWS[5], "w")
        records = campaign.read(ROWS[5:6])
        assert records.status == ("ok",)
        assert records.times_measured.tolist() == [1]
        np.testing.assert_allclose(records.utilities, toys.utility(ROWS[5:6]))


def test_a_campaign_of_another_fingerprint_is_refused_and_explained(path):
    with Ledger(path) as ledger:
        toys.campaign(ledger, dtype="float32")
        assert toys.campaign(ledger, dtype="float32").details["dtype"] == "float32"
        with pytest.raises(CampaignMismatch) as caught:
            ledger.open_campaign(
                "calibration", "g" * 8, toys.PLAYERS, toys.TOKENS, {"model": "toy", "dtype": "bf16"}
            )
        one_line(caught, "ffffffff", "gggggggg", "dtype was 'float32' and is now 'bf16'")
        one_line(caught, "--output")
        assert "model" not in str(caught.value)
        with pytest.raises(CampaignMismatch, match="sequence_tokens differ"):
            ledger.open_campaign("calibration", "f" * 8, toys.PLAYERS, [1, 2, 3], {})
        # Another name is another campaign; the same fingerprint shares what was measured.
        other = ledger.open_campaign("heldout", "f" * 8, toys.PLAYERS, toys.TOKENS, {})
        toys.campaign(ledger).record(ROWS[:2], {"nll": toys.nll(ROWS[:2])})
        assert not other.missing(ROWS[:2]).any()
        assert ledger.campaign_names() == ("calibration", "heldout")
        with pytest.raises(LedgerError, match="it has calibration, heldout"):
            ledger.campaign("test")


@pytest.mark.parametrize(
    ("rows", "metrics", "words"),
    [
        (ROWS[:2], {"kl": toys.nll(ROWS[:2])}, "give nll"),
        (ROWS[:2], {"nll": toys.nll(ROWS[:2]), "bleu": toys.nll(ROWS[:2])}, "bleu"),
        (ROWS[:2], {"nll": toys.nll(ROWS[:3])}, r"shape \[2, 3\], got \[3, 3\]"),
        (ROWS[:2, :5], {"nll": toys.nll(ROWS[:2])}, r"boolean \[B, 6\]"),
        (ROWS[:2].astype(int), {"nll": toys.nll(ROWS[:2])}, "boolean"),
    ],
)
def test_metrics_that_do_not_fit_write_nothing(path, rows, metrics, words):
    with Ledger(path) as ledger:
        campaign = toys.campaign(ledger)
        with pytest.raises(LedgerError, match=words):
            campaign.record(rows, metrics)
        assert campaign.counts().total == 0


def test_events_are_kept_in_order(path):
    with Ledger(path) as ledger:
        ledger.note("run started", missing=3)
        ledger.note("worker died", worker="a:1")
        ledger.note("run finished")
    with Ledger(path, readonly=True) as ledger:
        kinds = [event.kind for event in ledger.events()]
        assert kinds == ["run started", "worker died", "run finished"]
        assert [event.detail for event in ledger.events("worker died")] == [{"worker": "a:1"}]


HOLDER = """
import os, signal, sys
import cluster_toys as toys
from cluster import Ledger
ledger = Ledger(sys.argv[1])
rows = toys.sampling.enumerate_all(6)[:9]
toys.campaign(ledger).record(rows, {"nll": toys.nll(rows)})
print("recorded", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_one_writer_at_a_time_and_a_killed_one_leaves_its_rows_and_no_lock(path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "recorded\n"
            with pytest.raises(LedgerLocked) as caught:
                Ledger(path)
            one_line(caught, f"process {holder.pid}", "--output")
            with Ledger(path, readonly=True) as ledger:
                assert ledger.campaign("calibration").counts().ok == 9
        finally:
            os.kill(holder.pid, signal.SIGKILL)
    with Ledger(path, readonly=True) as ledger:  # a reader recovers the journal without the lock
        assert ledger.campaign("calibration").counts().ok == 9
    with Ledger(path) as ledger:
        assert toys.campaign(ledger).counts().ok == 9
        with pytest.raises(LedgerLocked, match=f"process {os.getpid()}"):
            Ledger(path)


def garbage(path):
    path.write_bytes(b"this is not a database" * 500)


def torn_header(path):
    path.write_bytes(bytes(100) + path.read_bytes()[100:])


def truncated(path):
    path.write_bytes(path.read_bytes()[:20_000])


def overwritten(path):
    whole = bytearray(path.read_bytes())
    whole[8192:16384] = os.urandom(8192)
    path.write_bytes(whole)


@pytest.mark.parametrize("damage", [garbage, torn_header, truncated, overwritten])
@pytest.mark.parametrize("readonly", [False, True])
def test_a_damaged_file_is_named_and_not_touched(path, damage, readonly):
    with Ledger(path) as ledger:
        toys.campaign(ledger).record(ROWS, {"nll": toys.nll(ROWS), "kl": toys.nll(ROWS)})
    damage(path)
    before = path.read_bytes()
    with pytest.raises(LedgerCorrupt) as caught:
        Ledger(path, readonly=readonly)
    one_line(caught, str(path), "not touched", "--output")
    assert path.read_bytes() == before


def test_files_of_other_programs_and_newer_versions_are_refused(path):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE photos (name TEXT)")
    other.close()
    with pytest.raises(LedgerCorrupt, match="another program"):
        Ledger(path)
    path.unlink()
    Ledger(path).close()
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(LedgerError) as caught:
        Ledger(path)
    one_line(caught, "schema version 99", "upgrade layershap")


def test_a_ledger_that_is_absent_empty_or_in_no_mans_land(path):
    with pytest.raises(LedgerError, match="no ledger at"):
        Ledger(path, readonly=True)
    path.touch()
    with pytest.raises(LedgerError, match="is empty"):
        Ledger(path, readonly=True)
    with Ledger(path) as ledger:  # left by a crash before the first transaction
        assert ledger.campaign_names() == ()
    with pytest.raises(LedgerError) as caught:
        Ledger("/dev/null/run/ledger.sqlite")
    one_line(caught, "cannot create", "--output")


def test_a_full_disk_is_named_and_nothing_recorded_is_lost(path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    rows = sampling.enumerate_all(12)
    with Ledger(path) as ledger:
        campaign = ledger.open_campaign("c", "f", [str(i) for i in range(12)], [1] * 64, {})
        values = np.ones((64, 64), np.float32)

        def fill():
            for start in range(0, len(rows), 64):
                campaign.record(rows[start : start + 64], {"nll": values})

        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limits[1]))
        try:
            with pytest.raises(LedgerError) as caught:
                fill()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        recorded = campaign.counts().ok
        one_line(caught, str(path), "free some space")
        assert 64 < recorded < len(rows)
        assert recorded % 64 == 0  # whole batches or nothing
        campaign.record(rows[recorded : recorded + 64], {"nll": values})
        assert campaign.counts().ok == recorded + 64
    with Ledger(path, readonly=True) as ledger:
        assert ledger.campaign("c").counts().ok == recorded + 64
