"""Sets of players as they come over the wire, turned into coalitions."""

from __future__ import annotations

import base64
import binascii
import difflib
from collections.abc import Sequence
from itertools import chain

import numpy as np
from jaxtyping import Bool
from pydantic import BaseModel

import sampling
from layershap.serve.http.errors import ServiceError
from layershap.serve.http.predictor import Predictor

__all__ = ["given_form", "read_many", "read_one", "read_player"]


def given_form(asked: BaseModel, forms: Sequence[str]) -> str:
    """Returns which one of some fields was given.

    Raises:
        ServiceError: 422 if it is none or more than one.
    """
    given = [form for form in forms if form in asked.model_fields_set]
    if len(given) == 1:
        return given[0]
    names = ", ".join(forms)
    code = "ambiguous_set" if given else "missing_field"
    told = f"{names}: give exactly one, got {' and '.join(given) or 'none'}"
    raise ServiceError(422, code, told, given[-1] if given else forms[0])


def read_one(oracle: Predictor, asked: BaseModel) -> Bool[np.ndarray, "n"]:
    """Returns the coalition of `remove` or `keep`.

    Raises:
        ServiceError: 422 if there is not exactly one of them, or it names no player.
    """
    form = given_form(asked, ("remove", "keep"))
    row = np.zeros(len(oracle.snapshot.players), dtype=bool)
    for place, name in enumerate(getattr(asked, form)):
        row[list(read_player(oracle, name, f"{form}[{place}]"))] = True
    return row if form == "keep" else ~row


def read_many(
    oracle: Predictor, asked: BaseModel, most: int, forms: Sequence[str]
) -> Bool[np.ndarray, "B n"]:
    """Returns the coalitions of a request for many sets.

    Args:
        oracle: whose players they are.
        asked: the request.
        most: sets that may be asked for.
        forms: fields that may hold them.

    Raises:
        ServiceError: 422 if a set is wrong; the field tells which.
    """
    form = given_form(asked, forms)
    sets = getattr(asked, form)
    n = len(oracle.snapshot.players)
    if form == "packed":
        return _unpacked(sets, n, most)
    if len(sets) > most:
        raise _too_many(form, len(sets), most)
    if form == "kept":
        return _of_texts(sets, n)
    rows = _marked(oracle, sets, form)
    return rows if form == "keep" else ~rows


def read_player(oracle: Predictor, given: str | int | float, field: str) -> tuple[int, ...]:
    """Returns the players that a name or a number means.

    Raises:
        ServiceError: 422 if it means nobody.
    """
    found = oracle.names.get(given)
    if found is not None:
        return found
    known = [str(name) for name in oracle.names]
    near = difflib.get_close_matches(str(given)[:40], known, n=1)
    players = oracle.snapshot.players
    hint = f"did you mean {near[0]}" if near else f"players are {players[0]} to {players[-1]}"
    raise ServiceError(
        422, "unknown_player", f"{field}: {str(given)[:40]!r} is no player; {hint}", field
    )


def _marked(
    oracle: Predictor, sets: Sequence[Sequence[str | int | float]], field: str
) -> Bool[np.ndarray, "B n"]:
    """Returns who is named in each set."""
    names = oracle.names
    rows = np.zeros((len(sets), len(oracle.snapshot.players)), dtype=bool)
    try:
        found = [[player for name in given for player in names[name]] for given in sets]
    except KeyError:
        for row, given in enumerate(sets):
            for place, name in enumerate(given):
                read_player(oracle, name, f"{field}[{row}][{place}]")
        raise
    sizes = np.array([len(players) for players in found], dtype=np.intp)
    players = np.array(list(chain.from_iterable(found)), dtype=np.intp)
    rows[np.repeat(np.arange(len(sets)), sizes), players] = True
    return rows


def _of_texts(texts: Sequence[str], n: int) -> Bool[np.ndarray, "B n"]:
    try:
        return sampling.from_text(texts, n)
    except ValueError:
        place = next(p for p, text in enumerate(texts) if len(text) != n or set(text) - {"0", "1"})
    field = f"kept[{place}]"
    raise ServiceError(
        422, "invalid_field", f"{field}: must be {n} characters 0 or 1, one a player", field
    )


def _unpacked(text: str, n: int, most: int) -> Bool[np.ndarray, "B n"]:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ServiceError(
            422, "invalid_field", "packed: must be base64 with padding", "packed"
        ) from None
    width = -(-n // 8)
    if len(content) % width:
        raise ServiceError(
            422,
            "invalid_field",
            f"packed: must hold {width} bytes a set for {n} players, got {len(content)} bytes",
            "packed",
        )
    count = len(content) // width
    if count > most:
        raise _too_many("packed", count, most)
    table = np.frombuffer(content, dtype=np.uint8).reshape(count, width)
    try:
        return sampling.unpack(table, n)
    except ValueError:
        # Only the last byte has bits that stand for nobody.
        place = int(np.flatnonzero(table[:, -1] >> (n - 8 * (width - 1)))[0])
    raise ServiceError(
        422,
        "invalid_field",
        f"packed: set {place} has bits beyond the {n} players; they must be 0",
        "packed",
    )


def _too_many(field: str, got: int, most: int) -> ServiceError:
    return ServiceError(
        422,
        "too_many_sets",
        f"{field}: must hold at most {most:,} sets, got {got:,}; use several requests",
        field,
    )
