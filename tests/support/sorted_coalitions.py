"""Random distinct coalitions in the order that shares most work, as a hypothesis strategy."""

import numpy as np
from hypothesis import strategies as st

import sampling


@st.composite
def sorted_coalitions(draw, largest=60):
    """At most ``largest`` rows of 1 to 10 players."""
    n = draw(st.integers(1, 10))
    seed = draw(st.integers(0, 2**32 - 1))
    size = draw(st.integers(0, largest))
    rows = sampling.distinct(np.random.default_rng(seed).random((size, n)) < 0.6)
    return rows[sampling.lexicographic_order(rows)]
