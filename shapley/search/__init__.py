"""Search for the best sets of players to remove, on any game."""

from shapley.search.beam import beam_search
from shapley.search.candidate import Candidate, best_first
from shapley.search.exhaustive import exhaustive_search
from shapley.search.greedy import greedy_removal
from shapley.search.sets import propose
from shapley.search.swap import swap_search

__all__ = [
    "Candidate",
    "beam_search",
    "best_first",
    "exhaustive_search",
    "greedy_removal",
    "propose",
    "swap_search",
]
