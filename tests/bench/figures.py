"""What a benchmark gives back, and how pairs of timings become a ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table of results.

    Attributes:
        what: What was measured, in words.
        value: The figure as printed, with its unit.
        goal: The limit or the peer that the issue names, as printed; empty where there is none.
        met: Whether the goal is met, or None where there is none.
    """

    what: str
    value: str
    goal: str = ""
    met: bool | None = None


def ratio_figure(what: str, ratios: Sequence[float], *, at_least: float | None = None) -> Figure:
    """Return the median of ratios as a figure, with their range and number."""
    median = statistics.median(ratios)
    value = f"{median:.2f} (of {len(ratios)}: {min(ratios):.2f}–{max(ratios):.2f})"
    if at_least is None:
        return Figure(what, value)
    return Figure(what, value, f"≥ {at_least:g}", median >= at_least)


def seconds(work: Callable[[], object]) -> float:
    """Return how long a call takes, in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleaved(
    one: Callable[[], object], other: Callable[[], object], *, pairs: int
) -> list[tuple[float, float]]:
    """Time two calls in turn, the order alternating from pair to pair; return the pairs of seconds."""
    timed = []
    for number in range(pairs):
        if number % 2 == 0:
            first = seconds(one)
            timed.append((first, seconds(other)))
        else:
            second = seconds(other)
            timed.append((seconds(one), second))
    return timed


def memory_mib(name: str, process: int | str = "self") -> float:
    """Return what the kernel says of a process's memory: `VmRSS`, at present, or `VmHWM`, the most
    so far.
    """
    # Not getrusage: its figure survives exec, so a child would begin with its parent's.
    status = Path(f"/proc/{process}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def markdown_table(figures: Sequence[Figure]) -> str:
    """Return the figures as a table."""
    rows = ["| what | figure | goal | met |", "|---|---|---|---|"]
    marks = {True: "yes", False: "**no**", None: ""}
    rows += [f"| {f.what} | {f.value} | {f.goal} | {marks[f.met]} |" for f in figures]
    return "\n".join(rows)
