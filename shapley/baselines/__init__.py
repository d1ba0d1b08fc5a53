"""Published ways to choose what to remove that need only a game: one file a method."""

from shapley.baselines.ablation import single_ablation
from shapley.baselines.evopress import EvoPress, evopress
from shapley.baselines.found import Found, in_order
from shapley.baselines.parts import PartialGame, PartMeter, WholeGame
from shapley.baselines.rescoring import rescored_removal
from shapley.baselines.reverse import reverse_order
from shapley.baselines.shortened import ends_kept, shortened_ppl

__all__ = [
    "EvoPress",
    "Found",
    "PartMeter",
    "PartialGame",
    "WholeGame",
    "ends_kept",
    "evopress",
    "in_order",
    "rescored_removal",
    "reverse_order",
    "shortened_ppl",
    "single_ablation",
]
