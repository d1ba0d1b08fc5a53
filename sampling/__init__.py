"""Which coalitions to measure: keys, strata, complement pairs, permutations and designs."""

from sampling.allocation import allocate
from sampling.anchors import anchors
from sampling.coalitions import (
    distinct,
    empty,
    enumerate_all,
    from_keys,
    from_text,
    full,
    keys,
    lexicographic_order,
    pack,
    to_text,
    unpack,
    without,
)
from sampling.design import Design, campaign_design
from sampling.pairs import paired
from sampling.permutations import chain, chains, permutations
from sampling.strata import (
    draw_stratum,
    even_quotas,
    random_of_sizes,
    stratified,
    stratum_size,
    unrank,
)
from sampling.streams import stream

__all__ = [
    "Design",
    "allocate",
    "anchors",
    "campaign_design",
    "chain",
    "chains",
    "distinct",
    "draw_stratum",
    "empty",
    "enumerate_all",
    "even_quotas",
    "from_keys",
    "from_text",
    "full",
    "keys",
    "lexicographic_order",
    "pack",
    "paired",
    "permutations",
    "random_of_sizes",
    "stratified",
    "stratum_size",
    "stream",
    "to_text",
    "unpack",
    "unrank",
    "without",
]
