"""The list of generated pages: file names in docs/reference and the functions behind them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from infra.reference import api, cli, configuration, error_codes, results, settings

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
PAGES: dict[str, Callable[[], str]] = {
    "api.md": api.page,
    "cli.md": cli.page,
    "configuration.md": configuration.page,
    "error-codes.md": error_codes.page,
    "results.md": results.page,
    "settings.md": settings.page,
}
