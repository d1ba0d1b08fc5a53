"""The one typed configuration behind `run.toml` and the command line's flags."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from layershap.demo import MODEL_DIRECTORY
from layershap.errors import UserError

if TYPE_CHECKING:
    from decoder import Roster

__all__ = ["RunConfig", "Setting"]


class Setting:
    """What the command line shows of a field: its metavar (the unit) and its help group."""

    def __init__(self, metavar: str, group: str) -> None:
        self.metavar = metavar
        self.group = group


_Count = Annotated[int, Field(ge=1)]


class RunConfig(BaseModel):
    """Everything that decides a run. Field descriptions are the command line's help."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str | None, Setting("MODEL", "Options")] = Field(
        default=None,
        description="Checkpoint directory or hub id [default: the embedded demo model].",
    )
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"], Setting("TYPE", "Model")
    ] = Field(
        default="auto",
        description="Precision; auto is float32 on a CPU, the checkpoint's own on a GPU.",
    )
    device: Annotated[str, Setting("DEVICE", "Model")] = Field(
        default="auto", description="cpu, cuda, or auto: a GPU where the worker has one."
    )
    revision: Annotated[str | None, Setting("REVISION", "Model")] = Field(
        default=None, description="Hub revision of the model."
    )
    trust_remote_code: Annotated[bool, Setting("", "Model")] = Field(
        default=False, description="Run Python code that comes with the model."
    )

    players: Annotated[str, Setting("KIND", "Measuring")] = Field(
        default="layers",
        description="What can be removed: layers, sublayers (attention and MLP of every layer "
        "apart) or blocks:K (K consecutive layers together).",
    )
    protect: Annotated[str | None, Setting("PLAYERS", "Measuring")] = Field(
        default=None,
        description="Layers or players that are never removed, as 0,1,31 or L4.attn.",
    )
    utility: Annotated[tuple[str, ...], Setting("UTILITY", "Measuring")] = Field(
        default=(),
        description="nll, kl, top1 or choices:FILE (multiple choice, JSON lines with query, "
        "choices, gold); the first one decides, all are measured; repeat for several "
        "[default: nll].",
    )
    items: Annotated[int, Setting("ITEMS", "Measuring")] = Field(
        default=100, ge=1, description="Items of each choices: file that the search may see."
    )
    heldout_items: Annotated[int, Setting("ITEMS", "Measuring")] = Field(
        default=200, ge=1, description="Other items of it for the verification."
    )
    design: Annotated[Literal["adaptive", "fixed"], Setting("DESIGN", "Measuring")] = Field(
        default="adaptive",
        description="Which sets are measured for the values: adaptive chooses two fifths of them "
        "in rounds, where they tell most; fixed decides all beforehand.",
    )
    score_share: Annotated[float, Setting("SHARE", "Measuring")] = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of the calibration tokens that is scored, the same random ones for "
        "every set: saves time in the head.",
    )
    walk: Annotated[Literal["auto", "depth", "breadth"], Setting("WALK", "Measuring")] = Field(
        default="auto",
        description="Depth first needs the least memory; breadth first takes many sets through "
        "a layer at once, for short texts and models larger than --memory.",
    )
    order: Annotated[Literal["shared", "given"], Setting("ORDER", "Measuring")] = Field(
        default="shared",
        description="Sets in the order that shares most work, or in the design's order, so that "
        "a stopped run holds a smaller design.",
    )
    micro_batch: Annotated[int | None, Setting("TOKENS", "Measuring")] = Field(
        default=None,
        ge=1,
        description="Tokens that go through a layer at once [default: 2048 on a CPU, 16384 on a "
        "GPU, less where memory is short].",
    )
    memory: Annotated[float | None, Setting("GIB", "Measuring")] = Field(
        default=None,
        gt=0,
        description="Most memory of a worker in GiB, weights included: of its process on a CPU, "
        "of the GPU; a larger model is brought in layer by layer [default: what is free].",
    )
    compile: Annotated[bool, Setting("", "Measuring")] = Field(
        default=False,
        description="Run whole layers through torch.compile; pays after minutes of measuring.",
    )

    calibration: Annotated[tuple[str, ...], Setting("FILE", "Text")] = Field(
        default=(),
        description="Text the search may see: files (plain, JSON, JSON lines) or "
        "hf:NAME,CONFIG,SPLIT,COLUMN; repeat for several [default: the embedded text].",
    )
    heldout: Annotated[tuple[str, ...], Setting("FILE", "Text")] = Field(
        default=(),
        description="Text for the verification, never seen by the search "
        "[default: the last part of the calibration text].",
    )
    sequences: Annotated[int, Setting("SEQUENCES", "Text")] = Field(
        default=8, ge=1, description="Calibration sequences."
    )
    heldout_sequences: Annotated[int, Setting("SEQUENCES", "Text")] = Field(
        default=32, ge=1, description="Held-out sequences."
    )
    sequence_length: Annotated[int | None, Setting("TOKENS", "Text")] = Field(
        default=None,
        ge=2,
        description="Tokens a sequence [default: 256, or the model's context if less].",
    )

    budget: Annotated[int | None, Setting("EVALUATIONS", "Search")] = Field(
        default=None,
        ge=1,
        description="Distinct coalitions to measure, baselines apart "
        "[default: 40 for each player; 2^players or more measures all of them].",
    )
    remove: Annotated[str | None, Setting("COUNTS", "Search")] = Field(
        default=None,
        description="Numbers of players to remove, as 1-4 or 2,4,8 [default: 1 to a third].",
    )
    contiguous: Annotated[bool, Setting("", "Search")] = Field(
        default=False, description="Only sets of players that follow each other without a gap."
    )
    nested: Annotated[bool, Setting("", "Search")] = Field(
        default=False, description="Every set holds the smaller ones: one order of removal."
    )
    max_params: Annotated[float | None, Setting("PARAMETERS", "Search")] = Field(
        default=None, gt=0, description="Only sets that leave at most so many, as 6e9."
    )
    min_speedup: Annotated[float | None, Setting("RATIO", "Search")] = Field(
        default=None,
        gt=1,
        description="Only sets that decode so many times faster, as 1.3, by the time that each "
        "player takes on this machine.",
    )
    max_memory: Annotated[float | None, Setting("GIB", "Search")] = Field(
        default=None,
        gt=0,
        description="Only sets whose weights and cache (of one sequence) take at most so much.",
    )
    rounds: Annotated[int, Setting("ROUNDS", "Search")] = Field(
        default=20,
        ge=0,
        description="Most rounds of searching, measuring and learning; it ends before once the "
        "best sets have lasted and a better one is unlikely.",
    )
    candidates: Annotated[int, Setting("SETS", "Search")] = Field(
        default=4, ge=1, description="Sets measured in a round for each count, about."
    )
    seed: Annotated[int, Setting("SEED", "Search")] = Field(
        default=0, ge=0, description="Seed of every random stream."
    )
    speed_rounds: Annotated[int, Setting("ROUNDS", "Search")] = Field(
        default=15, ge=0, description="Timed rounds of the speed measurement; 0 leaves it out."
    )

    address: Annotated[str | None, Setting("HOST:PORT", "Cluster")] = Field(
        default=None, description="Ray cluster to use [default: a local one for this run]."
    )
    workers: Annotated[int | None, Setting("WORKERS", "Cluster")] = Field(
        default=None,
        ge=1,
        description="Model replicas [default: one a GPU, or one a CPU core up to 4; with --address "
        "as many as the cluster has room for, also when nodes join later].",
    )
    cpus_per_worker: Annotated[int, Setting("CORES", "Cluster")] = Field(
        default=1, ge=1, description="CPU cores, and threads, of each worker."
    )
    gpus_per_worker: Annotated[float | None, Setting("GPUS", "Cluster")] = Field(
        default=None,
        ge=0,
        description="GPUs of each worker, also a fraction [default: 1 where there are].",
    )

    @field_validator("remove", mode="before")
    @classmethod
    def _remove_is_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @property
    def model_name(self) -> str:
        """Directory or hub id of the model."""
        return self.model or str(MODEL_DIRECTORY)

    @property
    def utilities(self) -> tuple[str, ...]:
        """What is measured; the first decides."""
        return self.utility or ("nll",)

    @property
    def noun(self) -> str:
        """What a player is called."""
        return "layer" if self.players == "layers" else "player"

    @property
    def title(self) -> str:
        """What a person calls the model."""
        return "layershap demo" if self.model is None else self.model.rstrip("/").split("/")[-1]

    def default_output(self) -> Path:
        """`runs/<name>` for this model."""
        name = "demo" if self.model is None else re.sub(r"[^\w.-]+", "-", self.title)
        return Path("runs") / name

    def counts(self, n: int) -> list[int]:
        """Numbers of removed players asked for.

        Raises:
            UserError: a count is not a number, or leaves no player.
        """
        if self.remove is None:
            return list(range(1, max(1, n // 3) + 1))
        try:
            counts = parse_counts(self.remove)
        except ValueError:
            raise UserError(
                f"--remove {self.remove}: not a list of counts; write 3, 1-4 or 2,4,8"
            ) from None
        if not counts or counts[0] < 1 or counts[-1] >= n:
            raise UserError(
                f"--remove {self.remove}: there are {n} {self.noun}s; remove 1 to {n - 1}"
            )
        return counts

    def evaluations(self, n: int) -> int:
        """Distinct coalitions that the design and the search may measure together.

        Raises:
            UserError: the budget cannot hold the coalitions that every run needs.
        """
        everything = 2**n
        budget = self.budget if self.budget is not None else 40 * n
        least = min(everything, 2 * n + 4)
        if budget < least:
            raise UserError(
                f"--budget {budget}: {n} {self.noun}s need at least {least} evaluations"
            )
        return min(budget, everything)

    def to_toml(self) -> str:
        """The configuration as TOML, defaults written out; unset values as comments."""
        values = self.model_dump(mode="json")
        unset = [name for name, value in values.items() if value is None]
        head = "# Configuration of this run; every value that was not given is its default.\n"
        body = tomli_w.dumps({name: v for name, v in values.items() if v is not None})
        return head + body + "".join(f"# {name}: automatic\n" for name in unset)

    @classmethod
    def read(cls, path: Path) -> RunConfig:
        """The configuration of a `run.toml`.

        Raises:
            UserError: it is missing or wrong.
        """
        try:
            return cls.checked(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
        except FileNotFoundError:
            raise UserError(
                f"{path.parent}: no run.toml in this directory; start one with layershap run"
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise UserError(f"{path}: not readable as TOML ({error})") from None

    @classmethod
    def checked(cls, values: dict[str, Any], source: str) -> RunConfig:
        """A configuration of these values, or one line that says what is wrong with them."""
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else "?"
            flag = name if source.endswith(".toml") else "--" + name.replace("_", "-")
            given = first.get("input")
            raise UserError(
                f"{source}{': ' if source else ''}{flag} {given}: {first['msg'].lower()}"
            ) from None


def parse_counts(text: str) -> list[int]:
    """Sorted counts of a text such as `1-4` or `2,4,8`."""
    counts: set[int] = set()
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        first, last = int(low), int(high or low)
        if last < first:
            raise ValueError(f"{part}: empty range")
        counts.update(range(first, last + 1))
    return sorted(counts)


def parse_removed(text: str, option: str, roster: Roster) -> list[int]:
    """Sorted player indices of `4,6`, `0-3` or `L4.attn`; a clear error otherwise."""
    try:
        return list(roster.find(text))
    except ValueError as error:
        raise UserError(f"{option} {text}: {error}") from None
