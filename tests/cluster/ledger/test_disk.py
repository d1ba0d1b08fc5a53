"""What is on the disk after power cuts, kills and full disks: whole batches, all that was said."""

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import numpy as np
import pytest

import sampling
from cluster import Column, Ledger, LedgerError

PLAYERS = tuple(f"L{index}" for index in range(12))
COLUMNS = (Column("nll", (5, 3, 2, 4), -1), Column("piqa.acc", (1,) * 16))
BATCH = 32
ROWS = sampling.enumerate_all(12)
BATCHES = len(ROWS) // BATCH


def batch(number):
    return ROWS[number * BATCH : (number + 1) * BATCH]


def metrics(rows):
    """Numbers that say which row they belong to."""
    place = (rows @ (1 << np.arange(12))).astype(np.float32)[:, None]
    return {"nll": place + np.arange(4, dtype=np.float32), "piqa.acc": place % np.full(16, 7, "f4")}


def open_campaign(ledger):
    return ledger.open_campaign("calibration", "f", PLAYERS, COLUMNS, {"model": "m"})


def record(campaign, number):
    campaign.record(batch(number), metrics(batch(number)), "w", 1.0)


def batches_in(path, *, readonly=True):
    """Opens a ledger, looks at every number, and returns how many batches it has, in order."""
    with Ledger(path, readonly=readonly) as ledger:
        if not ledger.campaign_names():
            return 0
        records = ledger.campaign("calibration").read()
    for name, values in metrics(records.coalitions).items():
        assert (records.metrics[name] == values).all()
    assert (records.times_measured == 1).all()
    whole, rest = divmod(len(records), BATCH)
    assert rest == 0
    expected = {*sampling.keys(ROWS[: len(records)])}
    assert {*sampling.keys(records.coalitions)} == expected
    return whole


@contextmanager
def python(code, *arguments):
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()


# Records batch after batch and says so after each. Forks, so that what has to be imported is
# imported once; a child's number stays its own until the next line comes.
RECORDERS = """
import os, sys
import tests.cluster.ledger.test_disk as disk
def say(line):  # in one write: a kill must not leave half a line
    os.write(1, f"{line}\\n".encode())
for path in sys.stdin:
    child = os.fork()
    if not child:
        say(f"pid {os.getpid()}")
        with disk.Ledger(path.strip()) as ledger:
            campaign = disk.open_campaign(ledger)
            for number in range(disk.BATCHES):
                disk.record(campaign, number)
                say(number)
        os._exit(0)
    next(sys.stdin)
    os.waitpid(child, 0)
    say("ended")
"""


def start(recorders, path):
    print(path, file=recorders.stdin, flush=True)
    word, pid = recorders.stdout.readline().split()
    assert word == "pid"
    return int(pid)


def said_until_it_ended(recorders):
    print(file=recorders.stdin, flush=True)
    said = 0
    while (line := recorders.stdout.readline()) != "ended\n":
        assert line, "the recorders ended"
        said += 1
    return said


@pytest.mark.kills
def test_whatever_was_said_to_be_recorded_survives_a_kill_at_any_instruction(tmp_path):
    rng = sampling.stream(0, "kill")
    found = []
    with python(RECORDERS) as recorders:
        assert recorders.stdout is not None
        for attempt in range(20):
            path = tmp_path / str(attempt) / "ledger.sqlite"
            pid = start(recorders, path)
            said = int(rng.integers(0, 30))
            for number in range(said):
                assert recorders.stdout.readline() == f"{number}\n"
            time.sleep(rng.uniform(0, 0.01 if said else 0.1))
            os.kill(pid, signal.SIGKILL)
            said += said_until_it_ended(recorders)
            kept = batches_in(path, readonly=False) if path.exists() else 0
            # One more may be on the disk: the kill came before it could be said.
            assert said <= kept <= said + 1
            found.append(kept)
            with Ledger(path) as ledger:  # goes on where it was
                if kept < BATCHES:
                    record(open_campaign(ledger), kept)
            assert batches_in(path) == min(kept + 1, BATCHES)
    assert len(set(found)) > 5


@pytest.mark.kills
def test_an_image_of_the_disk_at_any_moment_is_a_sound_ledger(tmp_path):
    path = tmp_path / "run" / "ledger.sqlite"
    rng = sampling.stream(1, "image")
    images = []
    with python(RECORDERS) as recorders:
        pid = start(recorders, path)
        for number in range(15):
            time.sleep(rng.uniform(0, 0.03))
            os.kill(pid, signal.SIGSTOP)  # copies of files that change meanwhile are no image
            while running(pid):
                time.sleep(0.001)
            folder = tmp_path / f"image{number}"
            if path.exists():
                folder.mkdir()
                for file in path.parent.glob("ledger.sqlite*"):
                    if not file.name.endswith("-shm"):  # lives in memory only
                        shutil.copy(file, folder)
                images.append(folder / "ledger.sqlite")
            os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGKILL)
        said_until_it_ended(recorders)
    counts = [batches_or_nothing(image) for image in images]
    assert [batches_in(image, readonly=False) for image in images] == counts
    assert counts == sorted(counts)
    assert counts[-1] > 0


def batches_or_nothing(image):
    """As a reader sees it, who has nothing to read before the first transaction."""
    try:
        return batches_in(image)
    except LedgerError as error:
        if "is empty" in str(error):
            return 0
        raise


def running(pid):
    """Whether a process has neither stopped nor ended."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rsplit(")", 1)[1].split()[0] not in "TZ"


@pytest.fixture(scope="module")
def torn(tmp_path_factory):
    """A database and its journal as a power cut leaves them, and its number of batches."""
    folder = tmp_path_factory.mktemp("torn")
    path = folder / "ledger.sqlite"
    with Ledger(path) as ledger:
        campaign = open_campaign(ledger)
        for number in range(12):
            record(campaign, number)
        cut = folder / "cut.sqlite"
        shutil.copy(path, cut)
        shutil.copy(f"{path}-wal", f"{cut}-wal")
    return cut, 12


@pytest.mark.parametrize("damage", ["cut", "zeros", "noise"])
def test_a_torn_journal_holds_the_first_batches_and_never_garbage(torn, damage, tmp_path):
    source, recorded = torn
    journal = source.with_name("cut.sqlite-wal").read_bytes()
    rng = sampling.stream(2, damage)
    places = rng.choice(len(journal) // 512 + 1, size=30, replace=False) * 512
    kept = []
    for number, place in enumerate(sorted({0, len(journal), *map(int, places)})):
        path = tmp_path / f"{number}.sqlite"
        shutil.copy(source, path)
        torn_off = len(journal) - place
        tail = {"cut": b"", "zeros": bytes(torn_off), "noise": rng.bytes(torn_off)}[damage]
        path.with_name(f"{path.name}-wal").write_bytes(journal[:place] + tail)
        kept.append(batches_in(path, readonly=False))
        with Ledger(path) as ledger:
            record(open_campaign(ledger), kept[-1])
        assert batches_in(path) == kept[-1] + 1
    assert kept == sorted(kept)
    assert kept[0] == 0
    assert kept[-1] == recorded
    assert len(set(kept)) > 8


@pytest.mark.parametrize("readonly", [True, False])
def test_a_change_that_was_cut_short_outside_the_write_ahead_log_is_taken_back(tmp_path, readonly):
    path, image = tmp_path / "ledger.sqlite", tmp_path / "image.sqlite"
    with Ledger(path) as ledger:
        record(open_campaign(ledger), 0)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = DELETE")
    db.execute("PRAGMA cache_size = 1")  # makes it write before the end of the transaction
    db.execute("BEGIN")
    db.execute("UPDATE measurements SET vectors = zeroblob(200)")
    db.executemany("INSERT INTO events VALUES (0.0, ?, '{}')", (("x" * 1000,) for _ in range(200)))
    shutil.copy(path, image)
    shutil.copy(f"{path}-journal", f"{image}-journal")
    db.execute("ROLLBACK")
    db.close()
    assert image.stat().st_size > path.stat().st_size
    assert batches_in(image, readonly=readonly) == 1


FULL = """
import resource, signal, sys
import tests.cluster.ledger.test_disk as disk
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with disk.Ledger(sys.argv[1]) as ledger:
    campaign = disk.open_campaign(ledger)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    try:
        for number in range(disk.BATCHES):
            disk.record(campaign, number)
            print(number, flush=True)
    except disk.LedgerError as error:
        print(error, flush=True)
        print(campaign.counts().ok // disk.BATCH, flush=True)  # can still be read
"""


@pytest.mark.parametrize("size", [30_000, 77_777, 200_000])
def test_a_full_disk_is_said_in_one_line_and_loses_nothing(tmp_path, size):
    path = tmp_path / "ledger.sqlite"
    with python(FULL, path, size) as process:
        out, _ = process.communicate(timeout=60)
    *said, message, readable = out.splitlines()
    assert process.returncode == 0
    assert str(path) in message
    assert "free some space" in message
    assert said == [str(number) for number in range(len(said))]
    assert 0 <= len(said) < BATCHES
    assert int(readable) == len(said)
    assert batches_in(path, readonly=False) == len(said)
    with Ledger(path) as ledger:
        for number in range(len(said), BATCHES):
            record(open_campaign(ledger), number)
    assert batches_in(path) == BATCHES


def record_together(ledger, campaign):
    with ledger.transaction():
        for number in range(BATCHES):
            record(campaign, number)


def test_writing_goes_on_in_the_same_process_once_there_is_room_again(tmp_path):
    path = tmp_path / "ledger.sqlite"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Ledger(path) as ledger:
        campaign = open_campaign(ledger)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            with pytest.raises(LedgerError, match="free some space"):
                record_together(ledger, campaign)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert campaign.counts().total == 0  # written together, undone together
        record(campaign, 0)
    assert batches_in(path) == 1
