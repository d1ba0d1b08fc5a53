"""The explorer: a page that asks the surrogate about any set, click by click."""

from __future__ import annotations

from layershap.explorer.data import Exploration, Verified, explorer_data, gather
from layershap.explorer.export import explorer_page, export_explorer
from layershap.explorer.page import render_explorer

__all__ = [
    "Exploration",
    "Verified",
    "explorer_data",
    "explorer_page",
    "export_explorer",
    "gather",
    "render_explorer",
]
