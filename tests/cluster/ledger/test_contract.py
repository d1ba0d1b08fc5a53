"""The ledger keeps the contract of a store."""

from __future__ import annotations

from functools import partial

import pytest

from cluster import Ledger
from tests.support.contracts.store import StoreContract


class TestLedger(StoreContract):
    @pytest.fixture
    def opened(self, tmp_path):
        return partial(Ledger, tmp_path / "ledger.sqlite")
