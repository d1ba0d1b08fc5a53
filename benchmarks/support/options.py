"""Command-line options that the benchmarks have in common."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

__all__ = ["options_parser"]


def options_parser(
    text: str | None, sizes: Mapping[str, tuple[int, str]], *, device: bool = False
) -> argparse.ArgumentParser:
    """A parser with --json and one whole-number option a size.

    Args:
        text: the benchmark's docstring, shown by --help.
        sizes: default and meaning of each size, by name.
        device: whether there are --device and --dtype.
    """
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to write the results")
    if device:
        kinds = ("float32", "bfloat16", "float16")
        parser.add_argument("--device", default="cpu", help="cpu or cuda [cpu]")
        parser.add_argument("--dtype", default=kinds[0], choices=kinds, help=f"[{kinds[0]}]")
    for name, (default, meaning) in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{meaning} [{default}]")
    return parser
