import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import sampling
from cluster import CampaignMismatch, Column, Ledger, LedgerCorrupt, LedgerError, LedgerLocked
from tests.support import cluster_toys as toys

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
        campaign.record(ROWS[:40], toys.metrics(ROWS[:40]), "w", seconds=4.0)
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
        for name, values in toys.metrics(asked).items():
            assert (records.metrics[name] == values).all()
        assert (records.vectors == -toys.nll(asked)).all()
        assert records.weights.tolist() == list(toys.TOKENS)
        assert records.workers == ("w",) * 4
        assert records.mean("top1").tolist() == [1.0] * 4
        np.testing.assert_allclose(records.mean("kl"), -toys.utility(asked) / 2, rtol=1e-12)
        assert records.seconds.tolist() == [0.1] * 4
        everything = campaign.read()
        assert len(everything) == 40
        removed = (~everything.coalitions).sum(axis=1)
        assert (np.diff(removed) >= 0).all()
        with pytest.raises(LedgerError) as caught:
            campaign.read(ROWS[38:42])
        one_line(caught, "2 that", "missing()")
        with pytest.raises(LedgerError, match="opened to read"):
            ledger.log_event("hello")


def test_a_row_keeps_its_values_and_counts_repeats(path):
    with Ledger(path) as ledger:
        campaign = toys.campaign(ledger)
        campaign.record(ROWS[:4], toys.metrics(ROWS[:4]))
        assert campaign.counts().repeated == 0
        before = toys.table(ledger)
        campaign.record(ROWS[2:4], toys.metrics(ROWS[4:6]))
        assert toys.table(ledger) == before
        assert campaign.read(ROWS[:4]).times_measured.tolist() == [1, 1, 2, 2]
        assert campaign.counts().repeated == 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("name", ["nll", "kl"])
def test_a_number_that_is_not_finite_keeps_its_coalition(path, bad, name):
    metrics = toys.metrics(ROWS[:3])
    metrics[name] = metrics[name].astype(np.float64)
    metrics[name][1, 2] = bad
    with Ledger(path) as ledger:
        campaign = toys.campaign(ledger)
        campaign.record(ROWS[:3], metrics)
        records = campaign.read(ROWS[:3])
        assert records.status == ("ok", "non-finite", "ok")
        # Another column's trouble does not take the utility away.
        assert records.ok.tolist() == [True, name != "nll", True]
        assert np.isfinite(records.mean(name)).tolist() == [True, False, True]
        assert not np.isfinite(records.metrics[name][1, 2])
        assert np.isfinite(records.metrics[name][1, :2]).all()
        assert np.isnan(campaign.utilities(metrics)).tolist() == (~records.ok).tolist()
        np.testing.assert_allclose(records.utilities[[0, 2]], toys.utility(ROWS[[0, 2]]))
        assert not campaign.missing(ROWS[:3]).any()
        assert campaign.statuses(ROWS[[1, 5, 2]]) == ["non-finite", None, "ok"]
        assert campaign.counts().non_finite == 1


def test_numbers_of_no_weight_decide_nothing(path):
    with Ledger(path) as ledger:
        columns = [Column("nll", (1, 0, 3), -1), Column("acc", (1, 1))]
        campaign = ledger.open_campaign("text", "f", toys.PLAYERS, columns, {})
        metrics = {"nll": [[1.0, np.nan, 2.0]], "acc": [[1.0, 0.0]]}
        campaign.record(ROWS[:1], {name: np.array(v, np.float32) for name, v in metrics.items()})
        assert campaign.read().utilities.tolist() == [-1.75]
        assert campaign.read().status == ("ok",)


def test_any_column_can_be_the_utility_of_the_same_measurements(path):
    columns = (Column("nll", (3, 1), -1), Column("piqa.acc", (1,) * 4))
    metrics = {
        "nll": np.array([[1, 2], [3, 4]], np.float32),
        "piqa.acc": np.array([[1, 1, 0, 1], [0, 0, 0, 1]], np.float32),
    }
    arguments = ("calibration", "f", toys.PLAYERS, columns, {})
    with Ledger(path) as ledger:
        first = ledger.open_campaign(*arguments)
        first.record(ROWS[:2], metrics)
        assert first.read(ROWS[:2]).utilities.tolist() == [-1.25, -3.25]
        second = ledger.open_campaign(*arguments, utility="piqa.acc")
        assert second.same_as(first)
        assert not second.missing(ROWS[:2]).any()
        assert second.utilities(metrics).tolist() == [0.75, 0.25]
        assert first.utility == "nll"
        with pytest.raises(LedgerError, match=r"utility must be one of .* got 'mmlu'"):
            ledger.open_campaign(*arguments, utility="mmlu")
    with Ledger(path, readonly=True) as ledger:
        campaign = ledger.campaign("calibration")
        assert campaign.utility == "piqa.acc"
        records = campaign.read(ROWS[[1, 0]])
        assert records.utilities.tolist() == [0.25, 0.75]
        assert records.vectors.tolist() == [[0, 0, 0, 1], [1, 1, 0, 1]]
        assert records.weights.tolist() == [1] * 4
        assert records.mean("nll").tolist() == [3.25, 1.25]
        again = replace(campaign, utility="nll")
        assert again.read(ROWS[:2]).utilities.tolist() == [-1.25, -3.25]
        with pytest.raises(LedgerError, match=r"no column 'mmlu'; .* nll, piqa\.acc"):
            records.mean("mmlu")


def test_a_utility_has_the_same_bits_whichever_rows_are_read_beside_it(path):
    rng = sampling.stream(0, "rows")
    rows = sampling.random_of_sizes(17, rng.integers(0, 18, 700), rng)
    with Ledger(path) as ledger:
        columns = [Column("nll", tuple(range(1, 14)), -1)]
        players = [f"L{index}" for index in range(17)]
        campaign = ledger.open_campaign("calibration", "f", players, columns, {})
        values = rng.normal(size=(len(rows), 13)).astype(np.float32)
        campaign.record(rows, {"nll": values})
        transaction = campaign.read(rows).utilities
        alone = [campaign.read(rows[i : i + 1]).utilities[0] for i in range(0, len(rows), 7)]
        assert transaction[::7].tolist() == alone
        everything = campaign.read()
        assert campaign.read(everything.coalitions).utilities.tolist() == (
            everything.utilities.tolist()
        )
        sizes = [len(part) for part in campaign.batches(64)]
        assert sum(sizes) == len(everything)
        assert max(sizes) == 64


def test_what_was_set_aside_can_be_measured_later(path):
    with Ledger(path) as ledger:
        campaign = toys.campaign(ledger)
        campaign.quarantine(ROWS[5], "w")
        records = campaign.read(ROWS[5:6])
        assert records.status == ("failed",)
        assert np.isnan(records.utilities).all()
        assert records.times_measured.tolist() == [0]
        assert not campaign.missing(ROWS[5:6])[0]
        assert campaign.missing(ROWS[5:6], retry_failed=True)[0]
        campaign.record(ROWS[5:6], toys.metrics(ROWS[5:6]))
        campaign.quarantine(ROWS[5], "w")
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
                "calibration",
                "g" * 8,
                toys.PLAYERS,
                toys.COLUMNS,
                {"model": "toy", "dtype": "bf16"},
            )
        one_line(caught, "ffffffff", "gggggggg", "dtype was 'float32' and is now 'bf16'")
        one_line(caught, "--output")
        assert "model" not in str(caught.value)
        other_columns = [Column("nll", (1, 2, 3), -1)]
        with pytest.raises(CampaignMismatch, match="columns differ"):
            ledger.open_campaign("calibration", "f" * 8, toys.PLAYERS, other_columns, {})
        with pytest.raises(CampaignMismatch) as caught:
            ledger.open_campaign("third", "f" * 8, toys.PLAYERS, other_columns, {})
        one_line(caught, "ffffffff", "a fingerprint of its own")
        # Another name is another campaign; the same fingerprint shares what was measured.
        other = ledger.open_campaign("heldout", "f" * 8, toys.PLAYERS, toys.COLUMNS, {})
        toys.campaign(ledger).record(ROWS[:2], toys.metrics(ROWS[:2]))
        assert not other.missing(ROWS[:2]).any()
        assert ledger.campaign_names() == ("calibration", "heldout")
        with pytest.raises(LedgerError, match="it has calibration, heldout"):
            ledger.campaign("test")


@pytest.mark.parametrize(
    ("rows", "metrics", "words"),
    [
        (ROWS[:2], {"nll": toys.nll(ROWS[:2])}, "give the columns nll, kl, top1 and no others"),
        (ROWS[:2], toys.metrics(ROWS[:2]) | {"bleu": toys.nll(ROWS[:2])}, "bleu"),
        (ROWS[:2], toys.metrics(ROWS[:3]), r"shape \[2, 3\], got \[3, 3\]"),
        (ROWS[:2, :5], toys.metrics(ROWS[:2]), r"boolean \[B, 6\]"),
        (ROWS[:2].astype(int), toys.metrics(ROWS[:2]), "boolean"),
    ],
)
def test_metrics_that_do_not_fit_write_nothing(path, rows, metrics, words):
    with Ledger(path) as ledger:
        campaign = toys.campaign(ledger)
        with pytest.raises(LedgerError, match=words):
            campaign.record(rows, metrics)
        assert campaign.counts().total == 0


@pytest.mark.parametrize(
    ("name", "weights", "sign", "words"),
    [
        ("nll", (0, 0), 1, "one above 0"),
        ("nll", (), 1, "one above 0"),
        ("nll", (2, -1), 1, "at least 0"),
        ("nll", (1,), 0, "higher is better"),
        ("two words", (1,), 1, "without spaces"),
        ("", (1,), 1, "without spaces"),
        ("utility", (1,), 1, "choose another"),
    ],
)
def test_columns_that_cannot_be(name, weights, sign, words):
    with pytest.raises(LedgerError, match=words):
        Column(name, weights, sign)


def test_a_campaign_needs_players_and_columns_of_different_names(path):
    with Ledger(path) as ledger:
        for players, columns, words in [
            ((), toys.COLUMNS, "at least one name"),
            (("a", "a"), toys.COLUMNS, "none twice"),
            (("a",), (), "(none)"),
            (("a",), toys.COLUMNS[:1] * 2, "differ in name"),
        ]:
            with pytest.raises(LedgerError) as caught:
                ledger.open_campaign("calibration", "f", players, columns, {})
            one_line(caught, words)
        assert ledger.campaign_names() == ()


def test_what_is_written_together_is_written_whole_or_not_at_all(path):
    with Ledger(path) as ledger, Ledger(path, readonly=True) as reader:
        campaign = toys.campaign(ledger)
        seen = reader.campaign("calibration")
        with ledger.transaction():
            campaign.record(ROWS[:4], toys.metrics(ROWS[:4]))
            ledger.log_event("written")
            with ledger.transaction(), ledger.transaction():
                campaign.quarantine(ROWS[9])
            assert campaign.counts().total == 5
            assert seen.counts().total == 0
        assert seen.counts().total == 5
        assert len(reader.events()) == 1

        def interrupted():
            with ledger.transaction():
                campaign.record(ROWS[:8], toys.metrics(ROWS[:8]))
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert seen.counts().repeated == 0
        assert campaign.missing(ROWS[:9]).tolist() == [False] * 4 + [True] * 5
        campaign.record(ROWS[4:5], toys.metrics(ROWS[4:5]))
        assert seen.counts().ok == 5


def test_a_failure_that_is_passed_over_still_undoes_all_that_was_written_together(path):
    with Ledger(path) as ledger:
        campaign = toys.campaign(ledger)

        def fail():
            with ledger.transaction() as db:
                db.execute("INSERT INTO measurements DEFAULT VALUES")

        def block():
            with ledger.transaction():
                campaign.record(ROWS[:4], toys.metrics(ROWS[:4]))
                with pytest.raises(sqlite3.IntegrityError):
                    fail()
                with pytest.raises(LedgerError, match="was undone"):
                    campaign.record(ROWS[4:6], toys.metrics(ROWS[4:6]))

        with pytest.raises(LedgerError, match="write all of it again"):
            block()
        assert campaign.counts().total == 0
        with ledger.transaction():  # bad arguments are refused before anything is written
            campaign.record(ROWS[:2], toys.metrics(ROWS[:2]))
            with pytest.raises(LedgerError, match="must have shape"):
                campaign.record(ROWS[2:4], toys.metrics(ROWS[:3]))
        assert campaign.counts().ok == 2


def test_events_are_kept_in_order(path):
    with Ledger(path) as ledger:
        ledger.log_event("run started", missing=3)
        ledger.log_event("worker died", worker="a:1")
        ledger.log_event("run finished")
    with Ledger(path, readonly=True) as ledger:
        kinds = [event.kind for event in ledger.events()]
        assert kinds == ["run started", "worker died", "run finished"]
        assert [event.detail for event in ledger.events("worker died")] == [{"worker": "a:1"}]


HOLDER = """
import os, signal, sys
from tests.support import cluster_toys as toys
from cluster import Ledger
ledger = Ledger(sys.argv[1])
rows = toys.sampling.enumerate_all(6)[:9]
toys.campaign(ledger).record(rows, toys.metrics(rows))
print("recorded", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.kills
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
        toys.campaign(ledger).record(ROWS, toys.metrics(ROWS))
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


def test_reading_a_ledger_brings_in_no_ray_torch_or_jax():
    code = (
        "import sys, cluster.ledger as room\n"
        "assert all(hasattr(room, name) for name in room.__all__)\n"
        "print([name for name in ('ray', 'torch', 'jax') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
