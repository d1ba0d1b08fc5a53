import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest

import sampling
from cluster import CampaignMismatch, Column, Ledger, LedgerCorrupt, LedgerError

PLAYERS = tuple(f"L{index}" for index in range(16))
TOKENS = (10, 30, 0, 20)
COLUMNS = (Column("nll", TOKENS, -1), Column("kl", TOKENS, -1), Column("top1", TOKENS, 1))
# As version 1 wrote it.
VERSION_1 = """
PRAGMA journal_mode = WAL;
BEGIN;
PRAGMA application_id = 1280526416;
PRAGMA user_version = 1;
CREATE TABLE campaigns (name TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, players TEXT NOT NULL,
    sequence_tokens TEXT NOT NULL, details TEXT NOT NULL, created REAL NOT NULL) STRICT;
CREATE TABLE measurements (fingerprint TEXT NOT NULL, key BLOB NOT NULL, removed INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('ok', 'non-finite', 'failed')), utility REAL, nll BLOB,
    kl BLOB, top1 BLOB, times_measured INTEGER NOT NULL, worker TEXT NOT NULL,
    seconds REAL NOT NULL, created REAL NOT NULL, PRIMARY KEY (fingerprint, key)) STRICT;
CREATE TABLE events (time REAL NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL) STRICT;
COMMIT;
"""


def old(path, size):
    """Writes a ledger of schema version 1 and returns its measurements."""
    rng = sampling.stream(0, "old")
    rows = sampling.enumerate_all(16)[rng.permutation(1 << 16)[:size]]
    values = rng.normal(2.0, 0.5, (3, size, 4)).astype("<f4")
    values[0, 1, 0] = np.inf
    measured = []
    for i, key in enumerate(sampling.keys(rows)):
        nll, kl, top1 = (values[j, i].tobytes() for j in range(3))
        utility = -float(values[0, i].astype(float) @ TOKENS) / 60
        row = ["f", key, int((~rows[i]).sum()), "ok", utility, nll, kl, top1, 1, "w:1", 0.25, 1e9]
        if i == 0:
            row[3:9] = "failed", None, None, None, None, 0
        elif i == 1:
            row[3:5] = "non-finite", None
        elif i % 5 == 2:  # evaluators of version 1 could leave these out
            row[6] = None
        elif i % 5 == 3:
            row[7], row[8] = None, 2
        measured.append(tuple(row))
    db = sqlite3.connect(path)
    db.executescript(VERSION_1)
    with db:
        for name, fingerprint in (("calibration", "f"), ("heldout", "g")):
            db.execute(
                "INSERT INTO campaigns VALUES (?, ?, ?, ?, ?, ?)",
                (name, fingerprint, json.dumps(PLAYERS), json.dumps(TOKENS), '{"model": "m"}', 1e9),
            )
        db.executemany(f"INSERT INTO measurements VALUES ({', '.join('?' * 12)})", measured)
        db.execute("INSERT INTO events VALUES (1.5, 'run started', '{\"missing\": 3}')")
    db.close()
    return measured


def check_upgraded(path, measured):
    with Ledger(path, readonly=True) as ledger:
        assert ledger.fetch("PRAGMA user_version") == [(2,)]
        tables = {name for (name,) in ledger.fetch("SELECT name FROM sqlite_master")}
        assert not {name for name in tables if name.endswith("_1") and "autoindex" not in name}
        campaign = ledger.campaign("calibration")
        assert campaign.columns == COLUMNS
        assert campaign.players == PLAYERS
        assert campaign.utility == "nll"
        assert campaign.details == {"model": "m"}
        records = campaign.read(sampling.from_keys([row[1] for row in measured], 16))
        assert len(campaign.read()) == len(measured)
        absent = np.full(4, np.nan, "<f4").tobytes()
        for place, name in enumerate(("nll", "kl", "top1")):
            expected = b"".join(row[5 + place] or absent for row in measured)
            assert records.metrics[name].tobytes() == expected
        assert records.status == tuple(row[3] for row in measured)
        assert records.times_measured.tolist() == [row[8] for row in measured]
        assert records.seconds.tolist() == [row[10] for row in measured]
        utilities = np.array([np.nan if row[4] is None else row[4] for row in measured])
        np.testing.assert_allclose(records.utilities, utilities, rtol=1e-14)
        assert ledger.campaign("heldout").counts().total == 0
        assert ledger.events("run started")[0].detail == {"missing": 3}
        assert ledger.events("ledger upgraded")[0].detail == {"from": 1, "to": 2}


def test_an_older_ledger_keeps_every_bit_and_goes_on(tmp_path):
    path = tmp_path / "run" / "ledger.sqlite"
    path.parent.mkdir()
    measured = old(path, 400)
    with pytest.raises(LedgerError) as caught:
        Ledger(path, readonly=True)
    assert f"run layershap ledger upgrade {path.parent}" in str(caught.value)
    with Ledger(path) as ledger:
        assert ledger.upgraded_from == 1
    check_upgraded(path, measured)
    with Ledger(path) as ledger:
        assert ledger.upgraded_from is None
        campaign = ledger.open_campaign("calibration", "f", PLAYERS, COLUMNS, {})
        failed = sampling.from_keys([measured[0][1]], 16)
        campaign.record(failed, {column.name: np.ones((1, 4), "f4") for column in COLUMNS})
        assert campaign.read(failed).utilities.tolist() == [-1.0]
        with pytest.raises(CampaignMismatch, match="columns differ"):
            ledger.open_campaign("calibration", "f", PLAYERS, COLUMNS[:1], {})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE measurements SET kl = x'00' WHERE rowid = 9", "too few or too many numbers"),
        ("DELETE FROM campaigns WHERE fingerprint = 'f'", "no campaign has fingerprint f"),
        (
            "UPDATE campaigns SET fingerprint = 'f', sequence_tokens = '[1]'"
            " WHERE name = 'heldout'",
            "another number of sequences",
        ),
    ],
)
def test_an_older_ledger_that_contradicts_itself_stays_as_it_is(tmp_path, change, words):
    path = tmp_path / "ledger.sqlite"
    old(path, 20)
    with sqlite3.connect(path) as db:
        db.execute(change)
        before = list(db.iterdump())
    db.close()
    with pytest.raises(LedgerCorrupt, match=words):
        Ledger(path)
    with sqlite3.connect(path) as db:
        assert list(db.iterdump()) == before
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
    db.close()


# Forks, so that what has to be imported is imported once.
UPGRADER = """
import os, sys
from cluster import Ledger
for path in sys.stdin:
    child = os.fork()
    if not child:
        print(os.getpid(), flush=True)
        Ledger(path.strip()).close()
        os._exit(0)
    next(sys.stdin)  # until then the child's number is not given to another process
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


@pytest.mark.kills
def test_an_upgrade_that_is_killed_leaves_the_old_ledger_or_the_new_one(tmp_path):
    source = tmp_path / "old.sqlite"
    measured = old(source, 2_000)
    rng = sampling.stream(3, "kill")
    versions = []
    with subprocess.Popen(
        [sys.executable, "-c", UPGRADER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as helper:
        assert helper.stdin is not None
        assert helper.stdout is not None
        whole = 0.0
        for attempt in range(12):
            path = tmp_path / f"{attempt}.sqlite"
            shutil.copy(source, path)
            print(path, file=helper.stdin, flush=True)
            pid = int(helper.stdout.readline())
            began = time.perf_counter()
            if attempt:  # the first one is not disturbed, to know how long it takes
                time.sleep(rng.uniform(0, whole))
                os.kill(pid, signal.SIGKILL)
            print(file=helper.stdin, flush=True)
            assert helper.stdout.readline() == "ended\n"
            whole = whole or time.perf_counter() - began
            db = sqlite3.connect(path)
            versions.append(db.execute("PRAGMA user_version").fetchone()[0])
            if versions[-1] == 1:
                assert db.execute("SELECT * FROM measurements ORDER BY rowid").fetchall() == (
                    measured
                )
                assert db.execute("SELECT count(*) FROM campaigns").fetchone() == (2,)
            db.close()
            with Ledger(path):
                pass
            check_upgraded(path, measured)
        helper.stdin.close()
    assert versions[0] == 2
    assert 1 in versions
