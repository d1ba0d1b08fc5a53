"""What the service is asked; the OpenAPI schema is made of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from typing_extensions import TypeAliasType

__all__ = ["Asked", "Filters", "ManyAsked", "MeasurementAsked", "NeighboursAsked"]

MOST_NEIGHBOURS = 1000
LEVEL = Field(default=0.95, ge=0.5, le=0.999, description="Level of the prediction intervals.")


# The names and numbers of the model that is served are put into the schema as an enum. JSON has
# one kind of number: 4.0 is the layer 4.
Player = TypeAliasType("Player", str | int | float)
Players = list[Player]
Kept = Annotated[str, Field(description="One character a player in depth order: 1 kept, 0 not.")]


def _whole(given: Any) -> Any:
    # As for players: 5.0 is an integer.
    return int(given) if isinstance(given, float) and given.is_integer() else given


Whole = Annotated[int, BeforeValidator(_whole)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


def _one_of(*names: str) -> ConfigDict:
    """Says in the schema that exactly one of some fields is given."""
    return ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"oneOf": [{"required": [name]} for name in names]},
    )


class _OneSet(_In):
    model_config = _one_of("remove", "keep")

    remove: Players = Field(default_factory=list, description="Who goes.", examples=[[4, 6]])
    keep: Players = Field(default_factory=list, description="Who stays instead.")


class Asked(_OneSet):
    """One set of players, by who goes or by who stays."""

    level: float = LEVEL


class NeighboursAsked(_OneSet):
    """A set to look around from."""

    level: float = LEVEL
    limit: Whole = Field(
        default=5, ge=1, le=MOST_NEIGHBOURS, description="Most neighbours of each kind."
    )


class ManyAsked(_In):
    """Many sets, in one of four forms; `kept` and `packed` are the quick ones."""

    model_config = _one_of("remove", "keep", "kept", "packed")

    remove: list[Players] = Field(
        default_factory=list, description="Who goes, set by set.", examples=[[[4], [4, 6]]]
    )
    keep: list[Players] = Field(default_factory=list, description="Who stays, set by set.")
    kept: list[Kept] = Field(
        default_factory=list, description="Who stays, a text of 0 and 1 for each set."
    )
    packed: str = Field(
        default="",
        description=(
            "Who stays as bits, in base64 (RFC 4648, with padding): a set is ceil(players / 8)"
            " bytes, player i is bit i % 8 (the lowest is 0) of byte i // 8, and bits beyond the"
            " last player are 0. In numpy: packbits(kept, axis=1, bitorder='little')."
        ),
        json_schema_extra={
            "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
        },
    )
    level: float = LEVEL


class MeasurementAsked(_In):
    """Sets to measure on the real model."""

    model_config = _one_of("remove", "keep")

    remove: list[Players] = Field(
        default_factory=list, description="Who goes, set by set.", examples=[[[4], [4, 6]]]
    )
    keep: list[Players] = Field(default_factory=list, description="Who stays, set by set.")
    text: Literal["calibration", "heldout"] = Field(
        default="calibration",
        description="The text that the search saw, or the one it never saw.",
    )


class Filters(BaseModel):
    """Which recommendations to show."""

    model_config = ConfigDict(extra="forbid")

    count: int | None = Field(default=None, ge=0, description="Players removed.")
    most_count: int | None = Field(default=None, ge=0, description="Most players removed.")
    max_cost: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="Most nats per token above the whole model on held-out text.",
    )
    certain: bool = Field(
        default=False,
        description="Whether `max_cost` holds for the interval's upper end instead of its middle.",
    )
    min_prefill: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Least prefill speed, as a ratio."
    )
    min_decoding: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Least decoding speed, as a ratio."
    )
    min_saved: float | None = Field(
        default=None, ge=0, le=1, description="Least share of the parameters that is saved."
    )
    containing: str | None = Field(
        default=None, description="A player that has to be among the removed, by name or number."
    )
