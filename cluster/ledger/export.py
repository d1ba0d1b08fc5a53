"""Measurements as a table for other programs: one row a coalition, Parquet or CSV."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.errors import LedgerError
from cluster.ledger.campaign import Campaign
from cluster.ledger.columns import to_json
from cluster.ledger.records import Records

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["export_table"]

ENDINGS = (".parquet", ".csv")
ROWS_A_BATCH, NUMBERS_A_BATCH = 20_000, 4_000_000  # whichever is fewer


def export_table(
    campaign: Campaign | Sequence[Campaign],
    path: Path | str,
    vectors: bool = False,
    *,
    overwrite: bool = False,
) -> int:
    """Writes all measurements of one or several campaigns to a file, in bounded memory.

    The columns: ``campaign``; ``removed``, names joined by a space; ``n_removed``; ``keep_NAME``, a
    boolean a player; ``utility``; ``status``; the weighted mean of each metric under its name;
    ``seconds``, ``worker`` and ``times_measured``. A number that is not there is null (Parquet) or
    empty (CSV), and so is what another campaign has and this one lacks. The file gets its name when
    it is whole.

    Args:
        campaign: one or several of one ledger.
        path: ends in ``.parquet`` or ``.csv``.
        vectors: write each metric's numbers too: a list ``NAME.each`` (Parquet), or the columns
            ``NAME.0``, ``NAME.1`` and so on (CSV).
        overwrite: replace a file that exists.

    Returns:
        the number of rows.

    Raises:
        LedgerError: if the ending is unknown, the file exists or cannot be written, or the ledger
            cannot be read.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise LedgerError(f"{path} must end in {' or '.join(ENDINGS)}; name such a file")
    if path.exists() and not overwrite:
        raise LedgerError(f"{path} exists; name another file or replace it with --force")
    campaigns = [campaign] if isinstance(campaign, Campaign) else list(campaign)
    if not campaigns:
        raise LedgerError("campaigns is empty; name at least one campaign to export")
    part = path.with_name(f"{path.name}.part")
    schema = _schema(campaigns, path.suffix, vectors)
    rows = 0
    try:
        with part.open("wb") as file:
            with _writer(path.suffix, file, schema) as write:
                for one in campaigns:
                    for records in one.batches(_size(one)):
                        write(_batch(one.name, records, schema))
                        rows += len(records)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise LedgerError(
            f"cannot write {path}: {error.strerror or ' '.join(str(error).split())}; free some"
            " space or name another file"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return rows


def _schema(campaigns: Sequence[Campaign], suffix: str, vectors: bool) -> pa.Schema:
    import pyarrow as pa

    # The union, in the order of first sight: a file has one set of columns.
    players = dict.fromkeys(chain.from_iterable(one.players for one in campaigns))
    widths: dict[str, int] = {}
    for column in chain.from_iterable(one.columns for one in campaigns):
        widths[column.name] = max(column.width, widths.get(column.name, 0))
    fields: dict[str, pa.DataType] = {
        "campaign": pa.string(),
        "removed": pa.string(),
        "n_removed": pa.int32(),
        **{f"keep_{player}": pa.bool_() for player in players},
        "utility": pa.float64(),
        "status": pa.string(),
        **dict.fromkeys(widths, pa.float64()),
        "seconds": pa.float64(),
        "worker": pa.string(),
        "times_measured": pa.int64(),
    }
    if vectors and suffix == ".parquet":
        fields |= {f"{name}.each": pa.list_(pa.float32()) for name in widths}
    elif vectors:
        fields |= {
            f"{name}.{place}": pa.float32()
            for name, width in widths.items()
            for place in range(width)
        }
    about = [
        {
            "name": one.name,
            "fingerprint": one.fingerprint,
            "utility": one.utility,
            "columns": json.loads(to_json(one.columns)),
            "details": dict(one.details),
        }
        for one in campaigns
    ]
    return pa.schema(list(fields.items()), metadata={"layershap": json.dumps(about)})


@contextmanager
def _writer(suffix: str, file: Any, schema: pa.Schema) -> Iterator[Callable[[Any], None]]:
    if suffix == ".parquet":
        from pyarrow.parquet import ParquetWriter

        with ParquetWriter(file, schema, compression="zstd") as parquet:
            yield parquet.write_batch
    else:
        from pyarrow.csv import CSVWriter

        with CSVWriter(file, schema) as text:
            yield text.write


def _batch(name: str, records: Records, schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    size = len(records)
    gone = ~records.coalitions
    names = np.array(records.players, dtype=object)
    arrays: dict[str, Any] = {
        "campaign": [name] * size,
        "removed": [" ".join(names[row]) for row in gone],
        "n_removed": gone.sum(axis=1),
        "utility": _known(records.utilities),
        "status": records.status,
        "seconds": records.seconds,
        "worker": records.workers,
        "times_measured": records.times_measured,
    }
    for place, player in enumerate(records.players):
        arrays[f"keep_{player}"] = np.ascontiguousarray(records.coalitions[:, place])
    for metric, values in records.metrics.items():
        arrays[metric] = _known(records.mean(metric))
        if f"{metric}.each" in schema.names:
            ends = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
            arrays[f"{metric}.each"] = pa.ListArray.from_arrays(ends, pa.array(values.ravel()))
        elif f"{metric}.0" in schema.names:
            for place in range(values.shape[1]):
                arrays[f"{metric}.{place}"] = np.ascontiguousarray(values[:, place])
    columns = [
        arrays[field.name]
        if isinstance(arrays.get(field.name), pa.Array)
        else pa.array(arrays.get(field.name, [None] * size), type=field.type)
        for field in schema
    ]
    return pa.record_batch(columns, schema=schema)


def _size(campaign: Campaign) -> int:
    numbers = sum(column.width for column in campaign.columns)
    return max(1, min(ROWS_A_BATCH, NUMBERS_A_BATCH // numbers))


def _known(values: np.ndarray) -> pa.Array:
    """Null where there is no number."""
    import pyarrow as pa

    return pa.array(values, type=pa.float64(), from_pandas=True)
