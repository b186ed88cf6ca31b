"""Output of a long run: its progress (a bar on a terminal, plain lines elsewhere) and the table at
its end; and a default for `should_stop`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from core.domain.interval import INTERVAL_NOTE

if TYPE_CHECKING:
    from core.domain.results import Results

LINE_EVERY = 0.1
"""Without a terminal, one line is printed per tenth."""


def never() -> bool:
    """Return False: the `should_stop` of runs that only a signal ends."""
    return False


@contextmanager
def progress(what: str, frames: int, unit: str = "frames") -> Iterator[Callable[[int], None]]:
    """Show the progress of a stage on stderr.

    Args:
        what: Name of the stage, such as `detecting`.
        frames: Number of items.
        unit: Name of the items.

    Yields:
        A function that takes the number of items done.
    """
    if not sys.stderr.isatty():
        yield _lines(what, frames, unit)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit},"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, TextColumn("left"), console=Console(stderr=True)) as bar:
        task = bar.add_task(f"{what:10}", total=frames)
        yield lambda done: bar.update(task, completed=done)


def _lines(what: str, frames: int, unit: str) -> Callable[[int], None]:
    printed = -1

    def update(done: int) -> None:
        nonlocal printed
        tenth = int(done / max(frames, 1) / LINE_EVERY + 1e-9)
        if tenth > printed:
            printed = tenth
            print(f"{what}: {done} of {frames} {unit}", file=sys.stderr, flush=True)

    return update


def print_counts(results: Results) -> None:
    """Print counts, the meaning of their range, lines and warnings on stdout."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    table = Table("class", "unique", "low", "high", "peak", "mean", "reasons")
    for name, count in results.counts.items():
        numbers = (str(number) for number in (count.unique, count.low, count.high, count.peak))
        reasons = "; ".join(reason.text for reason in count.reasons)
        table.add_row(name, *numbers, f"{count.mean:.2f}", reasons)
    console.print(table)
    console.print(INTERVAL_NOTE)
    for line in results.lines:
        told = ", ".join(
            f"{name} {passed.in_} in {passed.out} out"
            for name, passed in line.counts.items()
            if passed.in_ or passed.out
        )
        console.print(f"line {line.name}: {told or 'no crossings'}", markup=False)
    for warning in results.warnings:
        console.print(f"warning: {warning.text}", markup=False)
