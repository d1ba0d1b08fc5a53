"""Shapley values, interactions, their uncertainty, and set search over any cooperative game."""

from shapley.estimator import Estimator, State, advance, estimate, start
from shapley.estimators import (
    CrossFitted,
    Exact,
    Learner,
    LeverageRegression,
    Permutation,
    Predict,
    Stratified,
    permutation_values,
    regression_values,
    stratified_values,
)
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
from shapley.groups import group_sums, grouped
from shapley.indices.banzhaf import banzhaf_values
from shapley.indices.corrected import corrected_values
from shapley.indices.exact import exact_banzhaf, exact_restricted, exact_values
from shapley.indices.interactions import (
    Interactions,
    estimate_interactions,
    exact_interactions,
    sampled_interactions,
)
from shapley.indices.monte_carlo import surrogate_values
from shapley.indices.restricted import restricted_values
from shapley.interop import (
    from_interaction_values,
    from_shapiq,
    to_interaction_values,
    to_shapiq,
)
from shapley.regression.fit import fit_regression
from shapley.retention import RetentionGame, retention, share_of_whole
from shapley.search import (
    Candidate,
    FoundSets,
    Limits,
    Saving,
    SetSearch,
    beam_search,
    exhaustive_search,
    greedy_removal,
    propose,
    swap_search,
)
from shapley.uncertainty.budget_advice import advise
from shapley.uncertainty.ranking import (
    RankingStatement,
    least_valuable_probabilities,
    order_probabilities,
    ranking_sentences,
    ranking_statements,
    statements_by_count,
)
from shapley.uncertainty.text_bootstrap import (
    TextUncertainty,
    bootstrap_values,
    regression_operator,
)
from shapley.values import Status, Values

__all__ = [
    "BudgetExceeded",
    "BudgetedGame",
    "Candidate",
    "CrossFitted",
    "Estimator",
    "Exact",
    "FoundSets",
    "FunctionGame",
    "Game",
    "Interactions",
    "Learner",
    "LeverageRegression",
    "Limits",
    "ObservedGame",
    "Permutation",
    "Predict",
    "RankingStatement",
    "RetentionGame",
    "Saving",
    "SetSearch",
    "State",
    "Status",
    "Stratified",
    "TableGame",
    "TextUncertainty",
    "UnknownCoalition",
    "Values",
    "advance",
    "advise",
    "banzhaf_values",
    "beam_search",
    "bootstrap_values",
    "corrected_values",
    "default_players",
    "estimate",
    "estimate_interactions",
    "evaluate",
    "exact_banzhaf",
    "exact_interactions",
    "exact_restricted",
    "exact_values",
    "exhaustive_search",
    "fit_regression",
    "from_interaction_values",
    "from_shapiq",
    "greedy_removal",
    "group_sums",
    "grouped",
    "least_valuable_probabilities",
    "order_probabilities",
    "permutation_values",
    "propose",
    "ranking_sentences",
    "ranking_statements",
    "regression_operator",
    "regression_values",
    "restricted_values",
    "retention",
    "sampled_interactions",
    "share_of_whole",
    "start",
    "statements_by_count",
    "stratified_values",
    "surrogate_values",
    "swap_search",
    "tabulate",
    "to_interaction_values",
    "to_shapiq",
]
