"""Exact tables of real language-model games: every coalition of 10 to 14 players, measured.

    python -m benchmarks.game_tables [--tables FOLDER] [--games a,b] [--second MODEL]

A table holds the utility of all `2^n` coalitions, minus the mean negative log-likelihood in nats
per token; bit `i` of a position is player `i`. The models are the demo model and a second, smaller
one that `benchmarks.second_model` trains. The text is the calibration split of the demo corpus.

Tables are kept in a folder. An interrupted table goes on where it was, and one that was made of
another checkpoint or another text is made again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from benchmarks.second_model import EARLY, FINAL, second_model
from decoder import (
    MaskedModel,
    ModelSpec,
    checkpoint_fingerprint,
    cut_sequences,
    load_model,
    load_tokenizer,
    tokenise,
)
from decoder.players import make_roster
from layershap.demo import MODEL_DIRECTORY
from layershap.demo.corpus import split_text
from layershap.demo.train import CHECKPOINT
from sampling import enumerate_all

__all__ = ["GAMES", "TABLES", "RealGame", "build_tables", "stored_table"]

TABLES = Path("runs/tables")
_PARTS = 16


@dataclass(frozen=True)
class RealGame:
    """One game: whose players, which of them, on how much text.

    Attributes:
        model: "demo", "second" or "second early".
        kind: "layers" or "sublayers" (attention and MLP apart).
        protect: layers whose players are always kept, such as "6-11".
        sequences: of 256 tokens.
    """

    model: str
    kind: str
    protect: str
    sequences: int


GAMES = {
    "demo_layers": RealGame("demo", "layers", "", 4),
    "demo_low": RealGame("demo", "sublayers", "6-11", 2),
    "demo_high": RealGame("demo", "sublayers", "0-5", 2),
    "demo_mid14": RealGame("demo", "sublayers", "0-2,10-11", 2),
    "second_layers": RealGame("second", "layers", "", 4),
    "second_low": RealGame("second", "sublayers", "6-9", 2),
    "second_high": RealGame("second", "sublayers", "0-3", 2),
    "early_layers": RealGame("second early", "layers", "", 4),
}


def stored_table(folder: Path, name: str) -> Path:
    """Where the finished table of a game lies."""
    return folder / f"{name}.npy"


def build_tables(
    folder: Path, names: Sequence[str] = tuple(GAMES), second: Path | None = None
) -> dict[str, Path]:
    """Makes the tables that are missing.

    Args:
        folder: of the tables.
        names: of the games.
        second: folder of an existing second model, as `benchmarks.second_model` writes it;
            trained in `folder` when omitted.

    Raises:
        ValueError: a name is not a game's, or a given second model has no early checkpoint.
    """
    for name in names:
        if name not in GAMES:
            raise ValueError(f"--games {name}: unknown; known games: {', '.join(GAMES)}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        _build(name, folder, second)
    return {name: stored_table(folder, name) for name in names}


def _build(name: str, folder: Path, second: Path | None) -> None:
    game, path = GAMES[name], stored_table(folder, name)
    described = path.with_suffix(".json")
    model = _model_directory(game, folder, second)
    spec = ModelSpec(str(model))
    text = cut_sequences(
        tokenise(load_tokenizer(spec), split_text("calibration")),
        sequences=game.sequences,
        length=256,
        source="calibration split of the demo corpus",
    )
    fingerprint = hashlib.sha256(
        repr((checkpoint_fingerprint(spec), game.kind, game.protect)).encode()
        + np.ascontiguousarray(text.tokens, dtype=np.int64).tobytes()
    ).hexdigest()
    if path.exists() and described.exists():
        if json.loads(described.read_text(encoding="utf-8"))["fingerprint"] == fingerprint:
            return
        path.unlink()
    loaded = load_model(spec)
    roster = make_roster(game.kind, loaded.config.num_hidden_layers, game.protect)
    masked = MaskedModel(loaded, text.tokens, roster=roster)
    table = _measured(name, masked, folder / f"{name}-{fingerprint[:12]}.partial.npy")
    details = {
        "fingerprint": fingerprint,
        "players": list(masked.players),
        "model": game.model,
        "tokens": list(text.tokens.shape),
        "unit": "minus nats per token",
    }
    described.write_text(json.dumps(details, indent=2) + "\n", encoding="utf-8")
    _save(path, table)
    (folder / f"{name}-{fingerprint[:12]}.partial.npy").unlink(missing_ok=True)


def _model_directory(game: RealGame, folder: Path, second: Path | None) -> Path:
    if game.model == "demo":
        return MODEL_DIRECTORY
    parent = folder / "second" if second is None else second
    trained = parent / (EARLY if game.model == "second early" else FINAL)
    if not (trained / "config.json").exists() or not (parent / "summary.json").exists():
        second_model(parent)
    if not trained.is_dir():
        raise ValueError(
            f"folder {parent}: its training went on from after the early checkpoint;"
            f" remove {parent / CHECKPOINT} to train anew"
        )
    return trained


def _measured(name: str, masked: MaskedModel, partial: Path) -> Float[np.ndarray, "M"]:
    """All utilities, in parts that agree on the first players, so that no prefix is lost."""
    n = len(masked.players)
    coalitions = enumerate_all(n)
    if partial.exists():
        table = np.load(partial, allow_pickle=False)
    else:
        table = np.full(len(coalitions), np.nan)
    part_of = np.arange(len(coalitions)) % min(_PARTS, 1 << n)
    missing = [part for part in range(part_of.max() + 1) if np.isnan(table[part_of == part]).any()]
    started = time.perf_counter()
    for done, part in enumerate(missing, 1):
        rows = part_of == part
        nll = masked.measure(coalitions[rows])["nll"].astype(np.float64)
        table[rows] = -nll.mean(axis=1)
        _save(partial, table)
        left = (time.perf_counter() - started) / done * (len(missing) - done)
        print(
            f"table {name}: part {done} of {len(missing)}, {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )
    return table


def _save(path: Path, table: Float[np.ndarray, "M"]) -> None:
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        np.save(file, table, allow_pickle=False)
    part.replace(path)


def main() -> None:
    """Makes the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=Path, default=TABLES, help=f"folder [{TABLES}]")
    parser.add_argument("--games", default=",".join(GAMES), help="names, separated by commas [all]")
    parser.add_argument("--second", type=Path, help="folder of a trained second model")
    parser.add_argument("--threads", type=int, help="of torch [all cores]")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        paths = build_tables(options.tables, options.games.split(","), options.second)
    except ValueError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    for name, path in paths.items():
        utilities = np.load(path, allow_pickle=False)
        print(
            f"{name:<14} {utilities.size.bit_length() - 1} players, dense {utilities[-1]:.3f}, "
            f"none {utilities[0]:.3f}, lowest {utilities.min():.3f}"
        )


if __name__ == "__main__":
    main()
