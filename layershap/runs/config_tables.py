"""The tables of `run.toml`: every setting of a run with its default, its bounds and its help."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from layershap.results.numbers import parse_size

__all__ = [
    "ClusterConfig",
    "MeasureConfig",
    "ModelConfig",
    "RepairConfig",
    "SearchConfig",
    "Setting",
    "TextConfig",
    "ValuesConfig",
    "VerifyConfig",
]


class Setting:
    """What the command line shows of a field: its metavar, which is the unit.

    Args:
        metavar: the unit.
        sizes: whether a number may be written as 6B or 500M.
    """

    def __init__(self, metavar: str, *, sizes: bool = False) -> None:
        self.metavar = metavar
        self.sizes = sizes


class _Section(BaseModel):
    """A table of `run.toml`. Field descriptions are the command line's help."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelConfig(_Section):
    """Which model, and how it is loaded."""

    name: Annotated[str | None, Setting("MODEL")] = Field(
        default=None,
        description="Checkpoint directory or hub id [default: the embedded demo model].",
    )
    dtype: Annotated[Literal["auto", "float32", "bfloat16", "float16"], Setting("TYPE")] = Field(
        default="auto",
        description="Precision; auto is float32 on a CPU, the checkpoint's own on a GPU.",
    )
    device: Annotated[str, Setting("DEVICE")] = Field(
        default="auto", description="cpu, cuda, or auto: a GPU where the worker has one."
    )
    revision: Annotated[str | None, Setting("REVISION")] = Field(
        default=None, description="Hub revision of the model."
    )
    tokenizer: Annotated[str | None, Setting("TOKENIZER")] = Field(
        default=None,
        description="Directory or hub id of the tokenizer [default: beside the model].",
    )
    trust_remote_code: Annotated[bool, Setting("")] = Field(
        default=False, description="Run Python code that comes with the model."
    )


class TextConfig(_Section):
    """What the model is measured on."""

    calibration: Annotated[tuple[str, ...], Setting("FILE")] = Field(
        default=(),
        description="Text the search may see: files (plain, JSON, JSON lines, a table as "
        "FILE.csv,COLUMN) or hf:NAME,CONFIG,SPLIT,COLUMN; repeat for several "
        "[default: the embedded text].",
    )
    heldout: Annotated[tuple[str, ...], Setting("FILE")] = Field(
        default=(),
        description="Text for the verification, never seen by the search "
        "[default: the last part of the calibration text].",
    )
    chat: Annotated[bool, Setting("")] = Field(
        default=False,
        description="The texts are JSON lines of conversations (messages, or prompt and "
        "completion): they are read by the model's chat template, and only answers are scored.",
    )
    allow_overlap: Annotated[bool, Setting("")] = Field(
        default=False,
        description="Measure also where the held-out text is in the calibration text: its costs "
        "are then too low.",
    )
    sequences: Annotated[int, Setting("SEQUENCES")] = Field(
        default=8, ge=1, description="Calibration sequences."
    )
    heldout_sequences: Annotated[int, Setting("SEQUENCES")] = Field(
        default=32, ge=1, description="Held-out sequences."
    )
    sequence_length: Annotated[int | None, Setting("TOKENS")] = Field(
        default=None,
        ge=2,
        description="Tokens a sequence [default: 256, or the model's context if less].",
    )


class MeasureConfig(_Section):
    """What is measured, and how."""

    players: Annotated[str, Setting("KIND")] = Field(
        default="layers",
        description="What can be removed: layers, sublayers (attention and MLP of every layer "
        "apart) or blocks:K (K consecutive layers together).",
    )
    protect: Annotated[str | None, Setting("PLAYERS")] = Field(
        default=None,
        description="Layers or players that are never removed, as 0,1,31 or L4.attn.",
    )
    utility: Annotated[tuple[str, ...], Setting("UTILITY")] = Field(
        default=(),
        description="nll, kl, top1 or choices:FILE (multiple choice, JSON lines with query, "
        "choices, gold); the first one decides, all are measured; repeat for several "
        "[default: nll].",
    )
    items: Annotated[int, Setting("ITEMS")] = Field(
        default=100, ge=1, description="Items of each choices: file that the search may see."
    )
    heldout_items: Annotated[int, Setting("ITEMS")] = Field(
        default=200, ge=1, description="Other items of it for the verification."
    )
    budget: Annotated[int | None, Setting("EVALUATIONS")] = Field(
        default=None,
        ge=1,
        description="Distinct sets to measure, baselines apart "
        "[default: 40 for each player; 2^players or more measures all of them].",
    )
    design: Annotated[Literal["adaptive", "fixed"], Setting("DESIGN")] = Field(
        default="adaptive",
        description="Which sets are measured for the values: adaptive chooses two fifths of them "
        "in rounds, where they tell most; fixed decides all beforehand.",
    )
    score_share: Annotated[float, Setting("SHARE")] = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of the calibration tokens that is scored, the same random ones for "
        "every set: saves time in the head.",
    )
    walk: Annotated[Literal["auto", "depth", "breadth"], Setting("WALK")] = Field(
        default="auto",
        description="Depth first needs the least memory; breadth first takes many sets through "
        "a layer at once, for short texts and models larger than --memory.",
    )
    order: Annotated[Literal["shared", "given"], Setting("ORDER")] = Field(
        default="shared",
        description="Sets in the order that shares most work, or in the design's order, so that "
        "a stopped run holds a smaller design.",
    )
    micro_batch: Annotated[int | None, Setting("TOKENS")] = Field(
        default=None,
        ge=1,
        description="Tokens that go through a layer at once [default: 2048 on a CPU, 16384 on a "
        "GPU, less where memory is short].",
    )
    memory: Annotated[float | None, Setting("GIB")] = Field(
        default=None,
        gt=0,
        description="Most memory of a worker in GiB, weights included: of its process on a CPU, "
        "of the GPU; a larger model is brought in layer by layer [default: what is free].",
    )
    compile: Annotated[bool, Setting("")] = Field(
        default=False,
        description="Run whole layers through torch.compile; pays after minutes of measuring.",
    )
    seed: Annotated[int, Setting("SEED")] = Field(
        default=0, ge=0, description="Seed of every random stream."
    )


class ValuesConfig(_Section):
    """What the values tell: it decides which sets tell most, never what a measurement says."""

    value_of: Annotated[Literal["retention", "loss"], Setting("WHAT")] = Field(
        default="retention",
        description="What values are shares of: retention, exp(-(loss - loss of the whole model)), "
        "or the raw loss in nats, which sets that are worse than guessing decide.",
    )
    at_most: Annotated[int | None, Setting("R")] = Field(
        default=None,
        ge=1,
        description="Values within sets of at most so many removed players, which do not add up "
        "[default: the Shapley values, of all sets].",
    )


class SearchConfig(_Section):
    """Which sets are looked for, and how long."""

    count: Annotated[str | None, Setting("COUNTS")] = Field(
        default=None,
        description="Numbers of players to remove, as 1-4 or 2,4,8 [default: 1 to a third; of "
        "halves of layers, even numbers].",
    )
    contiguous: Annotated[bool, Setting("")] = Field(
        default=False, description="Only sets of players that follow each other without a gap."
    )
    nested: Annotated[bool, Setting("")] = Field(
        default=False, description="Every set holds the smaller ones: one order of removal."
    )
    zero_halves: Annotated[bool, Setting("")] = Field(
        default=False,
        description="Halves of layers may go alone: they are zeroed, which saves nothing in a "
        "stock checkpoint.",
    )
    max_params: Annotated[float | None, Setting("PARAMETERS", sizes=True)] = Field(
        default=None,
        gt=0,
        description="Only sets that leave at most so many, as 6e9, 6B or 500M.",
    )
    min_speedup: Annotated[float | None, Setting("RATIO")] = Field(
        default=None,
        gt=1,
        description="Only sets that decode so many times faster, as 1.3, by the time that each "
        "player takes on this machine.",
    )
    max_memory: Annotated[float | None, Setting("GIB")] = Field(
        default=None,
        gt=0,
        description="Only sets whose weights and cache (of one sequence) take at most so much.",
    )
    rounds: Annotated[int, Setting("ROUNDS")] = Field(
        default=20,
        ge=0,
        description="Most rounds of searching, measuring and learning; it ends before once the "
        "best sets have lasted and a better one is unlikely.",
    )
    candidates: Annotated[int, Setting("SETS")] = Field(
        default=4, ge=1, description="Sets measured in a round for each count, about."
    )

    @field_validator("max_params", mode="before")
    @classmethod
    def _size_is_number(cls, value: Any) -> Any:
        return parse_size(value) if isinstance(value, str) else value

    @field_validator("count", mode="before")
    @classmethod
    def _count_is_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class VerifyConfig(_Section):
    """How the chosen sets are verified."""

    speed_rounds: Annotated[int, Setting("ROUNDS")] = Field(
        default=15, ge=0, description="Timed rounds of the speed measurement; 0 leaves it out."
    )


class RepairConfig(_Section):
    """How what is left of the recommended sets is fitted to the whole model."""

    enabled: Annotated[bool, Setting("")] = Field(
        default=True,
        description="Fit the weights that are left of each recommended set to the whole model, and "
        "measure that on the held-out text as well.",
    )
    method: Annotated[str, Setting("METHOD")] = Field(
        default="fast",
        description="Which fits are compared: fast (two that are cheap and good), auto (all) or "
        "the name of one.",
    )
    tokens: Annotated[int, Setting("TOKENS")] = Field(
        default=4096,
        ge=1,
        description="Tokens of the calibration text, beyond --sequences, that repair fits on: few, "
        "so that a run stays short; layershap repair takes more.",
    )
    budget: Annotated[int | None, Setting("EVALUATIONS")] = Field(
        default=None,
        ge=0,
        description="Distinct sets that the search measures repaired, each cut bridged by one fit, "
        "to choose what is best once it is repaired; 0 chooses by the sets as they are "
        "[default: an eighth of --budget, four for each count at least].",
    )


class ClusterConfig(_Section):
    """Where the measuring is done."""

    address: Annotated[str | None, Setting("HOST:PORT")] = Field(
        default=None, description="Ray cluster to use [default: a local one for this run]."
    )
    workers: Annotated[int | None, Setting("WORKERS")] = Field(
        default=None,
        ge=1,
        description="Model replicas [default: one a GPU, or one a CPU core up to 4; with --address "
        "as many as the cluster has room for, also when nodes join later].",
    )
    cpus_per_worker: Annotated[int, Setting("CORES")] = Field(
        default=1, ge=1, description="CPU cores, and threads, of each worker."
    )
    gpus_per_worker: Annotated[float | None, Setting("GPUS")] = Field(
        default=None,
        ge=0,
        description="GPUs of each worker, also a fraction [default: 1 where there are].",
    )
