"""Published ways to choose what to remove that need only a game, each declared in its file."""

from shapley.baselines.evopress import EvoPress, evopress
from shapley.baselines.found import Found, in_order
from shapley.baselines.greedy import greedy
from shapley.baselines.method import OWN_UTILITY, Kind, Method, MethodContext
from shapley.baselines.parts import PartialGame, PartMeter
from shapley.baselines.rescoring import rescored_removal
from shapley.baselines.reverse_order import reverse_order
from shapley.baselines.shortened import ends_kept, shortened_ppl
from shapley.baselines.single_ablation import single_ablation

__all__ = [
    "OWN_UTILITY",
    "EvoPress",
    "Found",
    "Kind",
    "Method",
    "MethodContext",
    "PartMeter",
    "PartialGame",
    "ends_kept",
    "evopress",
    "greedy",
    "in_order",
    "rescored_removal",
    "reverse_order",
    "shortened_ppl",
    "single_ablation",
]
