"""Reports of an evaluation, as a table on the terminal and as JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Report:
    """Figures over all data, and by class or sequence.

    Attributes:
        overall: Figure to number.
        key: The kind of the parts.
        parts: Name to figures.
    """

    overall: Figures
    key: Literal["by_class", "by_sequence"]
    parts: Mapping[str, Figures]


def over_all(parts: Sequence[Figures], means: Sequence[str]) -> dict[str, float]:
    """Return the unweighted mean of the figures named in `means`, and the sum of the others."""
    names = list(dict.fromkeys(name for part in parts for name in part))
    columns = {name: [part[name] for part in parts if name in part] for name in names}
    return {
        name: float(np.mean(column)) if name in means else sum(column)
        for name, column in columns.items()
    }


def write_json(report: Report, path: Path) -> None:
    """Write a report as JSON: `overall`, and `by_class` or `by_sequence` with figures by name.

    A figure that is not finite is left out.

    Raises:
        OSError: The file cannot be written.
    """
    data = {
        "overall": _plain(report.overall),
        report.key: {name: _plain(part) for name, part in report.parts.items()},
    }
    path.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _plain(figures: Figures) -> dict[str, float]:
    numbers = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in figures.items()
    }
    return {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in numbers.items()
        if math.isfinite(value)
    }


def print_report(report: Report, columns: Sequence[str] | None = None) -> None:
    """Print a line per part and a line for all data on stdout.

    Args:
        report: The report.
        columns: Figures to show, in this order. Default: all.
    """
    from rich.console import Console
    from rich.table import Table

    every = [*report.parts.values(), report.overall]
    names = [
        name
        for name in columns or dict.fromkeys(name for part in every for name in part)
        if any(name in part for part in every)
    ]
    table = Table(report.key.removeprefix("by_"))
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    rows = [*report.parts.items(), ("overall", report.overall)]
    for place, (title, part) in enumerate(rows):
        table.add_row(
            title,
            *(_formatted(part.get(name)) for name in names),
            end_section=place == len(rows) - 2,
        )
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)


def _formatted(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    if isinstance(value, int | np.integer):
        return str(value)
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.1f}"
