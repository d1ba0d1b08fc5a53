"""The tests, a folder a room; what they share is in `tests.support`."""

import os

import pytest

# Models here are so tiny that threads cost more than they save, above all beside other processes.
# Libraries read this when they are imported, and every process started here inherits it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest.register_assert_rewrite("tests.support")
