"""What a measurement consists of: named columns of numbers, each with its own weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from cluster.errors import LedgerError

__all__ = [
    "Column",
    "as_float32",
    "check_metrics",
    "find",
    "from_json",
    "pack",
    "to_json",
    "unpack",
    "widths",
]

# Columns of an exported table; a metric of the same name would be a second column of that name.
RESERVED = frozenset(
    ["campaign", "removed", "n_removed", "utility", "status", "worker", "times_measured", "seconds"]
)


@dataclass(frozen=True)
class Column:
    """One metric of a campaign: ``W`` numbers a coalition.

    Attributes:
        name: for example ``"nll"`` or ``"piqa.acc"``.
        weights: of its ``W`` numbers in the mean: one number a sequence, weighted by its predicted
            tokens, or one an item of a task, weighted by 1. Numbers of weight 0 are stored and
            decide nothing.
        sign: 1 if higher is better, -1 if lower is.

    Raises:
        LedgerError: if the name cannot head a column, no weight is above 0, or the sign is none.
    """

    name: str
    weights: tuple[int, ...]
    sign: int = 1

    def __post_init__(self) -> None:
        if self.name in RESERVED or self.name.startswith("keep_"):
            raise LedgerError(
                f"column {self.name!r} has a name of the ledger's own; choose another"
            )
        if not self.name.isprintable() or self.name.split() != [self.name] or "," in self.name:
            raise LedgerError(
                f"column {self.name!r} needs a name without spaces and commas; rename it"
            )
        if min(self.weights, default=0) < 0 or sum(self.weights) == 0:
            raise LedgerError(
                f"weights of column {self.name!r} must be counts of at least 0 with one above 0;"
                " give each sequence's number of predicted tokens, or 1 for an item"
            )
        if self.sign not in (1, -1):
            raise LedgerError(
                f"sign of column {self.name!r} must be 1 (higher is better) or -1, got {self.sign}"
            )

    @property
    def width(self) -> int:
        """Numbers a coalition, ``W``."""
        return len(self.weights)

    def mean(self, values: Float32[np.ndarray, "B W"]) -> Float64[np.ndarray, "B"]:
        """Returns the weighted mean of each row in double precision; NaN unless it is finite.

        A row's mean has the same bits whichever rows are beside it, which a matrix product does
        not promise.
        """
        weights = np.asarray(self.weights, dtype=np.float64)
        products = np.where(weights > 0, values, 0).astype(np.float64, order="C")
        products *= weights
        with np.errstate(invalid="ignore"):  # inf - inf
            result = products.sum(axis=1) / weights.sum()
        result[~np.isfinite(result)] = np.nan
        return result

    def finite(self, values: Float32[np.ndarray, "B W"]) -> np.ndarray:
        """Tells which rows are finite wherever a weight is above 0: bool[B]."""
        return (np.isfinite(values) | (np.asarray(self.weights) == 0)).all(axis=1)


def find(columns: Sequence[Column], name: str) -> Column:
    """Returns the column of this name.

    Raises:
        LedgerError: if there is none.
    """
    for column in columns:
        if column.name == name:
            return column
    known = ", ".join(column.name for column in columns)
    raise LedgerError(f"no column {name!r}; the campaign has {known}")


def widths(columns: Iterable[Column]) -> str:
    """Returns names and widths as JSON: what the bytes of a measurement mean."""
    return json.dumps([[column.name, column.width] for column in columns])


def to_json(columns: Iterable[Column]) -> str:
    """Returns columns as JSON."""
    return json.dumps(
        [
            {
                "name": column.name,
                "weights": [int(weight) for weight in column.weights],
                "sign": int(column.sign),
            }
            for column in columns
        ]
    )


def from_json(text: str) -> tuple[Column, ...]:
    """Returns the columns behind :func:`to_json`."""
    return tuple(
        Column(entry["name"], tuple(entry["weights"]), entry["sign"]) for entry in json.loads(text)
    )


def pack(
    columns: Sequence[Column], metrics: Mapping[str, Float32[np.ndarray, "B W"]]
) -> list[bytes]:
    """Returns each row of all columns, one after the other, as little-endian float32."""
    whole = np.concatenate([metrics[column.name] for column in columns], axis=1, dtype="<f4")
    size, data = whole.shape[1] * 4, whole.tobytes()
    return [data[start : start + size] for start in range(0, len(data), size)]


def unpack(
    columns: Sequence[Column], blobs: Sequence[bytes | None]
) -> dict[str, Float32[np.ndarray, "m W"]]:
    """Returns the columns behind :func:`pack`; NaN where there is no blob.

    Raises:
        LedgerError: if a blob has another length than the columns need.
    """
    total = sum(column.width for column in columns)
    absent = np.full(total, np.nan, dtype="<f4").tobytes()
    joined = b"".join(absent if blob is None else blob for blob in blobs)
    if len(joined) != len(absent) * len(blobs):
        raise LedgerError(
            f"a measurement does not have the {total} numbers of its columns; restore a copy of the"
            " ledger"
        )
    whole = np.frombuffer(joined, dtype="<f4").reshape(len(blobs), total)
    ends = np.cumsum([column.width for column in columns])
    return {
        column.name: np.array(part, dtype=np.float32, order="C")
        for column, part in zip(columns, np.split(whole, ends[:-1], axis=1), strict=True)
    }


def check_metrics(
    columns: Sequence[Column], metrics: Mapping[str, Float32[np.ndarray, "B W"]], size: int
) -> None:
    """Checks that metrics are all columns and no others, with one row a coalition.

    Args:
        columns: of the campaign.
        metrics: what was measured, by name of the column.
        size: how many coalitions were measured.

    Raises:
        LedgerError: if a column is missing, is one too many or has another shape.
    """
    names = [column.name for column in columns]
    if set(metrics) != set(names):
        raise LedgerError(
            f"metrics has {', '.join(sorted(metrics)) or 'nothing'}; give the columns"
            f" {', '.join(names)} and no others"
        )
    for column in columns:
        shape = list(np.shape(metrics[column.name]))
        if shape != [size, column.width]:
            raise LedgerError(
                f"metrics[{column.name!r}] must have shape {[size, column.width]}, got {shape};"
                " give one number a coalition and weight"
            )


def as_float32(values: Float32[np.ndarray, "B W"]) -> Float32[np.ndarray, "B W"]:
    """Returns numbers as the ledger stores them; what is too large becomes infinite."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype="<f4")
