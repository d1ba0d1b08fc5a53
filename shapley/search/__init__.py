"""Search for the best sets of players to remove, on any game and within limits."""

from shapley.search.bayesian import FoundSets, SetSearch
from shapley.search.beam import beam_search
from shapley.search.candidate import Candidate, best_first
from shapley.search.constraints import Limits, Saving
from shapley.search.drawing import draw_sets
from shapley.search.evolution import evolution_search
from shapley.search.exhaustive import exhaustive_search
from shapley.search.greedy import greedy_removal
from shapley.search.nested import Chain, nested_chains, nested_search
from shapley.search.propose import propose
from shapley.search.quadratic import QuadraticFit, fit_quadratic, sample_near, strongest_pairs
from shapley.search.quadratic_program import QuadraticOptimum, solve_quadratic
from shapley.search.swap import swap_search

__all__ = [
    "Candidate",
    "Chain",
    "FoundSets",
    "Limits",
    "QuadraticFit",
    "QuadraticOptimum",
    "Saving",
    "SetSearch",
    "beam_search",
    "best_first",
    "draw_sets",
    "evolution_search",
    "exhaustive_search",
    "fit_quadratic",
    "greedy_removal",
    "nested_chains",
    "nested_search",
    "propose",
    "sample_near",
    "solve_quadratic",
    "strongest_pairs",
    "swap_search",
]
