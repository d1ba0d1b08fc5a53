"""What the sets of a run must satisfy, and which counts can."""

from __future__ import annotations

from layershap.errors import UserError
from layershap.runs.config import RunConfig
from layershap.runs.recorded import RecordedRun
from layershap.runs.workspace import Workspace
from shapley.search import Limits, Saving

__all__ = ["check_targets", "recorded_limits", "search_limits"]

GIB = 2**30
MOST_COUNTS = 4


def search_limits(work: Workspace) -> tuple[Limits, tuple[int, ...]]:
    """Limits of the search and the numbers of players to remove.

    Targets of size and speed become savings that the removed players must reach together, each
    player counted by what it costs on this machine (`decoder.cost.player_costs`). Without
    ``--count`` the counts are then the smallest that can reach them.

    Raises:
        UserError: no set satisfies the limits; the message names the nearest possible.
    """
    return _checked(work.recorded, _savings(work))


def recorded_limits(run: RecordedRun) -> tuple[Limits, tuple[int, ...]]:
    """Tell limits and numbers of players of a search without the model.

    Args:
        run: whose.

    Raises:
        UserError: no set satisfies the limits, or a target needs the model.
    """
    if targets := _targets(run.config):
        name = targets[0][0].replace("_", "-")
        raise UserError(
            f"--{name}: what each {run.config.noun} takes is told by the model, which is not here; "
            "search where it is, or leave the target out of run.toml"
        )
    return _checked(run, ())


def check_targets(work: Workspace) -> None:
    """Refuse targets of size and speed that no set reaches, before anything is measured.

    Args:
        work: the run; its copy of the model is let go again, since workers need the room.

    Raises:
        UserError: no set reaches them; the message names the nearest possible.
    """
    if _targets(work.config):
        _checked(work, _savings(work))
        work.release_model()


def _checked(
    run: RecordedRun | Workspace, savings: tuple[Saving, ...]
) -> tuple[Limits, tuple[int, ...]]:
    config, n = run.config, len(run.players)
    pairs = None if config.search.zero_halves else run.roster.pairs
    limits = Limits(n, (), config.search.contiguous, savings, pairs)
    counts = tuple(config.counts(n))
    if savings and config.search.count is None:
        counts = tuple(c for c in limits.counts_possible() if c < n)[:MOST_COUNTS] or counts
    try:
        return limits, limits.check(counts)
    except ValueError as error:
        asked = [f"--{name.replace('_', '-')} {value:g}" for name, value in _targets(config)]
        asked += ["--contiguous"] if config.search.contiguous else []
        asked += [] if pairs is None else ["--players sublayers"]
        raise UserError(f"{' '.join(asked) or '--count'}: {error}") from None


def _targets(config: RunConfig) -> list[tuple[str, float]]:
    names = ("max_params", "min_speedup", "max_memory")
    found = [(name, getattr(config.search, name)) for name in names]
    return [(name, value) for name, value in found if value is not None]


def _savings(work: Workspace) -> tuple[Saving, ...]:
    targets = dict(_targets(work.config))
    if not targets:
        return ()
    tokens, costs = work.texts.calibration.tokens, work.costs
    savings = []
    if "max_params" in targets:
        total = costs.rest_parameters + float(costs.parameters.sum())
        savings.append(Saving("parameters", costs.parameters, total - targets["max_params"]))
    if "min_speedup" in targets:
        total = costs.rest_decode_seconds + float(costs.decode_seconds.sum())
        least = total * (1 - 1 / targets["min_speedup"])
        milliseconds = 1e3 * costs.decode_seconds
        savings.append(Saving("of decoding a token", milliseconds, 1e3 * least, "ms"))
    if "max_memory" in targets:
        length = tokens.shape[1]
        amounts = costs.bytes + length * costs.cache_bytes_per_token
        rest = costs.rest_bytes + length * costs.rest_cache_bytes_per_token
        total = (rest + float(amounts.sum())) / GIB
        least = total - targets["max_memory"]
        savings.append(Saving("of weights and cache", amounts / GIB, least, "GiB"))
    return tuple(savings)
