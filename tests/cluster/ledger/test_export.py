import csv
import json
import resource
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from click.testing import CliRunner

import sampling
from cluster import Column, Ledger, LedgerError, export_table
from layershap.cli import commands
from tests.support import cluster_toys as toys

ROWS = sampling.enumerate_all(6)


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)
        metrics = toys.metrics(ROWS[1:])
        metrics["nll"][4, 1] = np.nan
        campaign.record(ROWS[1:], metrics, "host:1", seconds=63.0)
        campaign.quarantine(ROWS[0], "host:2")
        other = ledger.open_campaign("heldout", "g", toys.PLAYERS, [Column("acc", (1, 1))], {},
                                     utility="acc")  # fmt: skip
        other.record(ROWS[-1:], {"acc": np.array([[1, 0]], np.float32)})
        yield ledger


def test_parquet_says_what_the_ledger_says(ledger, tmp_path):
    path = tmp_path / "table.parquet"
    campaign = ledger.campaign("calibration")
    assert export_table(campaign, path, vectors=True) == 64
    assert not path.with_name("table.parquet.part").exists()
    table = parquet.read_table(path)
    records = campaign.read()
    kept = np.stack([table[f"keep_{player}"].to_numpy() for player in toys.PLAYERS], axis=1)
    assert (kept == records.coalitions).all()
    for row, removed, number in zip(
        kept, table["removed"].to_pylist(), table["n_removed"].to_pylist(), strict=True
    ):
        assert removed.split() == [p for p, k in zip(toys.PLAYERS, row, strict=True) if not k]
        assert number == (~row).sum()
    np.testing.assert_array_equal(table["utility"].to_numpy(), records.utilities)
    assert table["utility"].null_count == 2  # quarantined, and not finite
    assert tuple(table["status"].to_pylist()) == records.status
    assert set(records.status) == {"ok", "non-finite", "failed"}
    for column in campaign.columns:
        np.testing.assert_array_equal(table[column.name].to_numpy(), records.mean(column.name))
        each = np.array(table[f"{column.name}.each"].to_pylist(), np.float32)
        np.testing.assert_array_equal(each, records.metrics[column.name])
    assert table["seconds"].to_pylist() == records.seconds.tolist()
    assert set(table["worker"].to_pylist()) == {"host:1", "host:2"}
    assert table["times_measured"].to_pylist() == records.times_measured.tolist()
    assert set(table["campaign"].to_pylist()) == {"calibration"}
    (about,) = json.loads(table.schema.metadata[b"layershap"])
    assert about["fingerprint"] == "f" * 8
    assert about["columns"][0] == {"name": "nll", "weights": list(toys.TOKENS), "sign": -1}


def test_csv_holds_the_same_and_no_vectors_unless_asked_for(ledger, tmp_path):
    campaign = ledger.campaign("calibration")
    records = campaign.read()
    plain, wide = tmp_path / "plain.csv", tmp_path / "wide.csv"
    assert export_table(campaign, plain) == export_table(campaign, wide, vectors=True) == 64
    with plain.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["utility"] or "nan") for row in rows] == pytest.approx(
        records.utilities.tolist(), rel=1e-15, nan_ok=True
    )
    assert [row["keep_layer3"] for row in rows] == [
        str(bool(kept)).lower() for kept in records.coalitions[:, 3]
    ]
    assert not [name for name in rows[0] if name.startswith("nll.")]
    with wide.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [name for name in rows[0] if name.startswith("nll.")] == ["nll.0", "nll.1", "nll.2"]
    assert np.float32(rows[0]["nll.2"]) == records.metrics["nll"][0, 2]


def test_campaigns_of_different_columns_share_one_table(ledger, tmp_path):
    path = tmp_path / "all.parquet"
    campaigns = [ledger.campaign(name) for name in ledger.campaign_names()]
    assert export_table(campaigns, path, vectors=True) == 65
    table = parquet.read_table(path).to_pylist()
    assert table[-1]["campaign"] == "heldout"
    assert table[-1]["acc"] == table[-1]["utility"] == 0.5
    assert table[-1]["acc.each"] == [1.0, 0.0]
    assert table[-1]["nll"] is None
    assert table[-1]["nll.each"] is None
    assert table[0]["acc"] is None
    assert export_table(campaigns, tmp_path / "all.csv", vectors=True) == 65


def test_an_empty_campaign_is_a_table_without_rows(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        for name in ("none.parquet", "none.csv"):
            assert export_table(toys.campaign(ledger), tmp_path / name) == 0
    assert parquet.read_table(tmp_path / "none.parquet").num_rows == 0
    assert (tmp_path / "none.csv").read_text().startswith('"campaign","removed"')


def test_batches_make_no_difference(ledger, tmp_path, monkeypatch):
    whole, pieces = tmp_path / "whole.parquet", tmp_path / "pieces.parquet"
    export_table(ledger.campaign("calibration"), whole, vectors=True)
    monkeypatch.setattr("cluster.ledger.export.ROWS_A_BATCH", 7)
    assert export_table(ledger.campaign("calibration"), pieces, vectors=True) == 64
    one, other = parquet.read_table(whole), parquet.read_table(pieces)
    assert one.drop_columns(["nll.each", "kl.each", "top1.each", "utility"]).equals(
        other.drop_columns(["nll.each", "kl.each", "top1.each", "utility"])
    )
    assert one["utility"].to_pylist() == other["utility"].to_pylist()
    assert str(one["nll.each"].to_pylist()) == str(other["nll.each"].to_pylist())


def test_what_cannot_be_written_is_said_and_leaves_nothing(ledger, tmp_path):
    campaign = ledger.campaign("calibration")
    there = tmp_path / "there.csv"
    there.write_text("mine")
    for path, words in [
        (tmp_path / "table.xlsx", "must end in .parquet or .csv"),
        (there, "--force"),
        (tmp_path / "nowhere" / "table.csv", "No such file or directory"),
        (Path("/proc/table.csv"), "cannot write /proc/table.csv"),
    ]:
        with pytest.raises(LedgerError) as caught:
            export_table(campaign, path)
        assert "\n" not in str(caught.value)
        assert words in str(caught.value)
    assert there.read_text() == "mine"
    assert export_table(campaign, there, overwrite=True) == 64
    assert there.read_text() != "mine"
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_a_disk_that_fills_up_leaves_no_part_of_a_table(ledger, tmp_path, name):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, limits[1]))
    try:
        with pytest.raises(LedgerError, match="free some space") as caught:
            export_table(ledger.campaign("calibration"), tmp_path / name, vectors=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("table*"))


def call(*arguments):
    return CliRunner().invoke(commands, ["ledger", *map(str, arguments)])


def test_the_commands_show_export_and_upgrade(ledger, tmp_path):
    ledger.log_event("run started")
    ledger.log_event("run started")
    shown = call("show", tmp_path).output
    assert "schema version 2" in shown
    assert "calibration: 64 sets of 6" in shown
    assert "62 ok, 1 non-finite, 1 failed, 0 measured more than once" in shown
    assert "acc x 2; utility acc" in shown
    assert "run started" in shown
    one, both = tmp_path / "one.csv", tmp_path / "both.parquet"
    assert f"{one}: 64 rows" in call("export", tmp_path, "--to", one).output
    assert len(one.read_text().splitlines()) == 65
    assert isinstance(call("export", tmp_path, "--to", one).exception, LedgerError)
    again = call("export", tmp_path, "--to", one, "--campaign", "heldout", "--force")
    assert f"{one}: 1 rows" in again.output
    assert call("export", tmp_path, "--to", both, "--campaign", "all", "--vectors").exit_code == 0
    assert parquet.read_table(both).num_rows == 65
    unknown = call("export", tmp_path, "--to", tmp_path / "x.csv", "--campaign", "test")
    assert "it has calibration, heldout" in str(unknown.exception)
    locked = call("upgrade", tmp_path)
    assert "is being written by process" in str(locked.exception)
    ledger.close()
    assert "already at schema version 2, 65 sets" in call("upgrade", tmp_path).output
    assert "has no ledger" in str(call("upgrade", tmp_path / "nothing").exception)
    assert not (tmp_path / "nothing").exists()
