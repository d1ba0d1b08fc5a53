"""Shapley values, interactions, their uncertainty, and set search over any cooperative game."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Named as its module is: the module would take its place when it is imported later.
from shapley.retention import RetentionGame, retention, share_of_whole

if TYPE_CHECKING:
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

_HOMES = {
    "BudgetExceeded": "game",
    "BudgetedGame": "game",
    "Candidate": "search",
    "CrossFitted": "estimators",
    "Estimator": "estimator",
    "Exact": "estimators",
    "FoundSets": "search",
    "FunctionGame": "game",
    "Game": "game",
    "Interactions": "indices.interactions",
    "Learner": "estimators",
    "LeverageRegression": "estimators",
    "Limits": "search",
    "ObservedGame": "game",
    "Permutation": "estimators",
    "Predict": "estimators",
    "RankingStatement": "uncertainty.ranking",
    "Saving": "search",
    "SetSearch": "search",
    "State": "estimator",
    "Status": "values",
    "Stratified": "estimators",
    "TableGame": "game",
    "TextUncertainty": "uncertainty.text_bootstrap",
    "UnknownCoalition": "game",
    "Values": "values",
    "advance": "estimator",
    "advise": "uncertainty.budget_advice",
    "banzhaf_values": "indices.banzhaf",
    "beam_search": "search",
    "bootstrap_values": "uncertainty.text_bootstrap",
    "corrected_values": "indices.corrected",
    "default_players": "game",
    "estimate": "estimator",
    "estimate_interactions": "indices.interactions",
    "evaluate": "game",
    "exact_banzhaf": "indices.exact",
    "exact_interactions": "indices.interactions",
    "exact_restricted": "indices.exact",
    "exact_values": "indices.exact",
    "exhaustive_search": "search",
    "fit_regression": "regression.fit",
    "from_interaction_values": "interop",
    "from_shapiq": "interop",
    "greedy_removal": "search",
    "group_sums": "groups",
    "grouped": "groups",
    "least_valuable_probabilities": "uncertainty.ranking",
    "order_probabilities": "uncertainty.ranking",
    "permutation_values": "estimators",
    "propose": "search",
    "ranking_sentences": "uncertainty.ranking",
    "ranking_statements": "uncertainty.ranking",
    "regression_operator": "uncertainty.text_bootstrap",
    "regression_values": "estimators",
    "restricted_values": "indices.restricted",
    "sampled_interactions": "indices.interactions",
    "start": "estimator",
    "statements_by_count": "uncertainty.ranking",
    "stratified_values": "estimators",
    "surrogate_values": "indices.monte_carlo",
    "swap_search": "search",
    "tabulate": "game",
    "to_interaction_values": "interop",
    "to_shapiq": "interop",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return __all__
