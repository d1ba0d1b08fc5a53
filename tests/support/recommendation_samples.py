"""What `recommendations.json` holds, made up; for tests."""

from __future__ import annotations

from layershap.results.recommendations import RECOMMENDATIONS

PLAYERS = tuple(f"L{index}" for index in range(6))


def speed(ratio, spread=0.0, memory=1000, parameters=0):
    ends = [ratio - spread, ratio + spread]
    return {
        "prefill": 1.0,
        "decode": 1.0,
        "prefill_ratio": [ratio, ratio, ratio],
        "decode_ratio": [ratio, ratio, ratio],
        "prefill_interval": ends,
        "decode_interval": ends,
        "peak_bytes": memory,
        "parameters": parameters,
    }


def quality(loss, half=0.01):
    return {"difference": loss, "difference_lower": loss - half, "difference_upper": loss + half}


def content(rows):
    """A recommendations.json of (own removed, loss, ratio) and baselines' (name, the same)."""
    recommendations = []
    for (removed, loss, ratio), baselines in rows:
        saved = 100 * len(removed)
        shared = {"parameters_saved": saved}
        recommendations.append(
            {
                "count": len(removed),
                "removed": removed,
                "names": ",".join(map(str, removed)),
                "export": "layershap export RUN",
                "against_best": None,
                **quality(loss),
                **shared,
                "speed": speed(ratio, 0.02, 1000 - saved),
                "warnings": [],
                "baselines": [
                    {
                        "method": name,
                        "removed": other,
                        "merges": merges,
                        **quality(cost),
                        **shared,
                        "speed": speed(pace, 0.02, 1000 - saved),
                    }
                    for name, other, cost, pace, merges in baselines
                ],
            }
        )
    dense = {**quality(0.0, 0.0), "parameters": 1000, "speed": speed(1.0, 0.0, 1000)}
    return {
        "fingerprint": "toy",
        "text": "toy text",
        "tokens": 100,
        "noun": "layer",
        "players": PLAYERS,
        "dense": dense,
        "recommendations": recommendations,
    }


def verified(found):
    """The same as its type."""
    return RECOMMENDATIONS.from_dict(found)


ROWS = [
    (([4], 0.02, 1.10), [("greedy", [4], 0.02, 1.10, None), ("deep", [5], 0.30, 1.11, None)]),
    (([2, 4], 0.05, 1.22), [("greedy", [3, 4], 0.06, 1.23, None)]),
    (([1, 2, 4], 0.20, 1.35), [("merging", [3, 4, 5], 0.15, 1.35, [[2, [3, 4, 5]]])]),
]
