"""What the service answers; the OpenAPI schema is made of it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Error",
    "Interaction",
    "Interactions",
    "Job",
    "JobResult",
    "Jobs",
    "Measured",
    "Neighbour",
    "Neighbours",
    "Prediction",
    "Predictions",
    "Progress",
    "Recommendation",
    "Recommendations",
    "RunInfo",
    "Value",
    "Values",
]


class _Out(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Error(_Out):
    """Every answer that is not 2xx."""

    code: str = Field(description="What is wrong, for programs.")
    message: str = Field(description="One line for people: field, rule, remedy.")
    field: str | None = Field(description="What of the request is wrong.")
    request_id: str = Field(description="Also in the header X-Request-ID, and in the log.")


class RunInfo(_Out):
    """What is served."""

    title: str
    players: list[str] = Field(description="Names in depth order.")
    numbers: list[int] = Field(description="Numbers that may be used for layers.")
    metric: str
    unit: str
    higher_is_better: bool
    dense: float = Field(description="The whole model's metric on the calibration text.")
    measured_sets: int = Field(description="Sets whose measured value is known.")
    held_out_r2: float | None = Field(description="R² of the surrogate on sets it never saw.")
    held_out_mae: float = Field(description="Its mean absolute error on them.")
    available: list[str] = Field(description="What else can be asked for.")
    limits: dict[str, int | float | None]
    version: str


class Prediction(_Out):
    """What is said of one set, on the calibration text."""

    removed: list[str]
    value: float = Field(description="The predicted metric.")
    lower: float | None = Field(description="Null with too few measurements for the level.")
    upper: float | None
    cost: float = Field(description="How much worse than the whole model; above 0 is worse.")
    measured: float | None = Field(description="The metric as measured; null where it was not.")
    dense: float = Field(description="The whole model's metric.")
    metric: str
    unit: str
    level: float


class Predictions(_Out):
    """What is said of many sets, column by column in the order of the request."""

    count: int
    value: list[float]
    lower: list[float] | None
    upper: list[float] | None
    measured_rows: list[int] = Field(description="Which of the sets were measured, from 0.")
    measured: list[float] = Field(description="Their measured metric.")
    dense: float
    metric: str
    unit: str
    level: float


class Neighbour(_Out):
    """A set one step away."""

    remove: str | None = Field(description="Who goes.")
    restore: str | None = Field(description="Who comes back.")
    value: float
    lower: float | None
    upper: float | None
    measured: float | None
    change: float = Field(
        description="How much worse than from where it was asked; below 0 is better. Measured"
        " values count before predicted ones."
    )


class Neighbours(_Out):
    """The best sets one step away, the best first."""

    start: Prediction
    removals: list[Neighbour] = Field(description="One more player goes.")
    returns: list[Neighbour] = Field(description="One player comes back.")
    swaps: list[Neighbour] = Field(description="One goes, another comes back.")


class Value(_Out):
    """What one player is worth: a share of the whole model, or nats (higher is better)."""

    player: str
    value: float
    standard_error: float | None
    lower: float | None
    upper: float | None
    rank: int = Field(description="1 for the least valuable.")


class Values(_Out):
    """Shapley or size-restricted values."""

    kind: str
    method: str
    status: str
    value_of: str = Field(description="retention, share or loss.")
    whole_utility: float | None = Field(
        description="The whole model's utility, which retention and shares refer to."
    )
    unit: str
    evaluations: int
    values: list[Value]


class Interaction(_Out):
    """How two players work together; below 0, removing both costs more than each alone."""

    first: str
    second: str
    interaction: float
    standard_error: float | None


class Interactions(_Out):
    """Pairs of players, the strongest interaction first."""

    value_of: str = Field(description="retention, share or loss.")
    unit: str
    total: int
    interactions: list[Interaction]


class RepairedCost(_Out):
    """What a set costs when the weights that are left are fitted to the whole model."""

    method: str
    cost: float | None = Field(description="Nats per token above the whole model, held-out.")
    lower: float | None
    upper: float | None
    gain: float | None = Field(description="The same above the set without repair; below 0: less.")
    gain_lower: float | None
    gain_upper: float | None
    text: str = Field(description="What the weights were fitted on.")
    tokens: int


class Recommendation(_Out):
    """A set that was verified on text that the search never saw."""

    count: int
    removed: list[str]
    cost: float | None = Field(description="Nats per token above the whole model, held-out.")
    lower: float | None
    upper: float | None
    repaired: RepairedCost | None
    perplexity: float | None
    prefill: float | None = Field(description="Speed as a ratio to the whole model.")
    decoding: float | None
    parameters_saved: int | None
    share_saved: float | None
    best_baseline: str | None
    baseline_cost: float | None
    source: str
    export: str | None = Field(description="The command that writes the checkpoint.")


class Recommendations(_Out):
    """Those that pass the filters, fewest players first."""

    total: int = Field(description="How many there are without filters.")
    recommendations: list[Recommendation]


class Progress(_Out):
    """How far a measurement is."""

    done: int
    total: int
    rate: float = Field(description="Sets a second; 0 while workers load the model.")
    seconds_left: float | None
    workers: int


class Measured(_Out):
    """What the real model measured of a set."""

    removed: list[str]
    value: float | None = Field(description="The metric; null where it is not finite.")
    dense: float
    cost: float | None = Field(description="How much worse than the whole model, paired.")
    lower: float | None = Field(description="Ends of the 95 % interval of the cost.")
    upper: float | None


class JobResult(_Out):
    """What a measurement found."""

    metric: str
    unit: str
    text: str
    sets: list[Measured]


class Job(_Out):
    """A measurement on the real model."""

    id: str
    state: Literal["waiting", "running", "cancelling", "done", "cancelled", "failed"]
    text: str
    sets: int
    created: float = Field(description="Seconds since 1970.")
    started: float | None
    finished: float | None
    progress: Progress | None
    result: JobResult | None
    error: str | None = Field(description="Why it failed.")


class Jobs(_Out):
    """All that are remembered, the newest first."""

    jobs: list[Job]
