"""Tables that fit narrow terminals."""

from __future__ import annotations

import pytest

from layershap.terminal.columns import fitted

HEADS = ["remove", "cost (95 %)", "perplexity", "prefill", "decoding"]
ROWS = [
    ["L1.mlp,L2.attn", "+0.0449 ±0.0096", "12.92", "1.13x", "1.12x"],
    ["L1.mlp,L2.attn,L4.mlp,L5.attn,L10.mlp,L11.attn", "+0.2428 ±0.0266", "15.75", "1.44x", "–"],
]
SPARE = ("perplexity", "prefill")


def width(heads, rows):
    columns = zip(heads, *rows, strict=True)
    return 1 + sum(3 + max(len(line) for text in c for line in text.split("\n")) for c in columns)


def test_a_table_that_fits_is_as_it_was():
    assert fitted(HEADS, ROWS, 200, SPARE) == (HEADS, ROWS)


@pytest.mark.parametrize("space", [90, 80, 60, 48, 42])
def test_sets_and_costs_are_never_shortened(space):
    heads, rows = fitted(HEADS, ROWS, space, SPARE)
    assert width(heads, rows) <= space
    assert [row[0].replace("\n", "") for row in rows] == [row[0] for row in ROWS]
    assert all(line.strip(",") for row in rows for line in row[0].split("\n"))
    assert [row[1] for row in rows] == [row[1] for row in ROWS]
    assert heads[1] == "cost\n(95 %)"


def test_columns_go_in_the_order_that_was_asked_and_no_sooner():
    assert fitted(HEADS, ROWS, 75, SPARE)[0][2:] == ["perplexity", "prefill", "decoding"]
    assert fitted(HEADS, ROWS, 60, SPARE)[0][2:] == ["prefill", "decoding"]
    assert fitted(HEADS, ROWS, 50, SPARE)[0][2:] == ["decoding"]


def test_what_may_not_go_stays_however_narrow():
    heads, rows = fitted(HEADS, ROWS, 10)
    assert len(heads) == 5
    assert rows[0][0] == "L1.mlp,\nL2.attn"
