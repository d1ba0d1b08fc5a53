"""A game of one's own keeps the contract of games once it is loaded, careless as it may be."""

from __future__ import annotations

import pytest

from layershap.games.module_game import load_game
from tests.support.contracts.game import GameContract
from tests.support.game_commands import empty_directory, module

CARELESS = """
def quality(kept):
    print("measuring")
    answer = kept.sum(axis=1) - 2 * (kept[:, 0] & kept[:, 1])
    kept[:] = False
    return answer


quality.players = 5
"""


class TestUserGame(GameContract):
    @pytest.fixture
    def game(self, tmp_path, monkeypatch):
        for folder in empty_directory(tmp_path, monkeypatch):
            yield load_game(f"{module(folder, CARELESS, 'careless')}:quality")
