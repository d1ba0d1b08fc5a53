from __future__ import annotations

import math

import pytest

from layershap.report.figures.canvas import tick_labels, ticks
from layershap.report.figures.scatter import colour_bands
from layershap.report.wording import duration, fixed, joined, percent, signed, sizes


def test_ticks_are_round_and_inside():
    assert ticks(0, 1, 5) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert ticks(-0.3, 8.3, 6, whole=True) == [0, 2, 4, 6, 8]
    assert tick_labels([0.0, 0.25, 0.5]) == ["0.00", "0.25", "0.50"]
    assert tick_labels([-1.0, 0.0]) == ["−1", "0"]
    with pytest.raises(ValueError, match="ticks need a range"):
        ticks(1, 1)


def test_colour_bands_cover_every_size_once():
    for found_sizes in ([4], list(range(1, 4)), list(range(1, 12)), list(range(80))):
        bands = colour_bands(found_sizes)
        assert [size for _, band in bands for size in band] == found_sizes
        colours = [colour for colour, _ in bands]
        assert colours == sorted(set(colours))
        assert max(colours) <= 6


def test_numbers_are_written_for_people():
    assert (fixed(-0.0004, 3), fixed(-1234.5, 1), fixed(math.nan)) == ("0.000", "−1,234.5", "–")
    assert (signed(0.06, 2), signed(-0.06, 2)) == ("+0.06", "−0.06")
    assert (percent(0.0618), percent(0.25)) == ("+6.2 %", "+25 %")
    assert (sizes(6.74e9), sizes(3_150_000), sizes(812e6)) == ("6.7 B", "3.1 M", "812 M")
    assert (duration(12), duration(1093.4), duration(7500)) == ("12 s", "18 min 13 s", "2 h 05 min")
    assert (joined(["a"]), joined(["a", "b", "c"])) == ("a", "a, b and c")
