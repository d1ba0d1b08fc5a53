"""Shapley values, interactions, their uncertainty, and set search over any cooperative game."""

from shapley.calibration import TextUncertainty, bootstrap_values, regression_operator
from shapley.cheap import surrogate_values
from shapley.corrected import corrected_values
from shapley.exact import exact_banzhaf, exact_restricted, exact_values
from shapley.game import (
    BudgetedGame,
    BudgetExceeded,
    FunctionGame,
    Game,
    ObservedGame,
    TableGame,
    UnknownCoalition,
    default_players,
    evaluate,
    tabulate,
)
from shapley.interactions import (
    Interactions,
    estimate_interactions,
    exact_interactions,
    sampled_interactions,
)
from shapley.permutation import permutation_values
from shapley.regression import fit_regression, regression_values
from shapley.restricted import restricted_values
from shapley.search import (
    Candidate,
    beam_search,
    exhaustive_search,
    greedy_removal,
    propose,
    swap_search,
)
from shapley.stratified import stratified_values
from shapley.values import Status, Values

__all__ = [
    "BudgetExceeded",
    "BudgetedGame",
    "Candidate",
    "FunctionGame",
    "Game",
    "Interactions",
    "ObservedGame",
    "Status",
    "TableGame",
    "TextUncertainty",
    "UnknownCoalition",
    "Values",
    "beam_search",
    "bootstrap_values",
    "corrected_values",
    "default_players",
    "estimate_interactions",
    "evaluate",
    "exact_banzhaf",
    "exact_interactions",
    "exact_restricted",
    "exact_values",
    "exhaustive_search",
    "fit_regression",
    "greedy_removal",
    "permutation_values",
    "propose",
    "regression_operator",
    "regression_values",
    "restricted_values",
    "sampled_interactions",
    "stratified_values",
    "surrogate_values",
    "swap_search",
    "tabulate",
]
