"""`make bench`: run the benchmarks and write their figures to RESULTS.md.

Names after the command choose some of them.
"""

from __future__ import annotations

import importlib
import os
import platform
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.figures import Figure, markdown_table

BENCHMARKS = {
    "assemble": "Tracking and counting against `trackers`' ByteTrack",
    "counts": "Tracks and counts on real sequences, beside stock trackers",
    "motion": "Camera motion beside detection",
    "decoding": "Decoding in a confined process",
    "detectors": "Published detectors on both runtimes",
    "ground": "Positions on the ground",
    "upload_adapter": "The blob adapter against the raw SDK",
    "upload": "Upload through the API against the raw SDK",
    "port": "What the limits of the port cost",
    "recount": "Recount",
    "idle": "Delay until a worker notices a message, and polling of empty queues",
    "worker": "The whole path of a worker",
    "memory": "A worker's memory",
}
RESULTS = Path(__file__).parent / "RESULTS.md"


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; return the exit status."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(
            f"There is no benchmark '{unknown[0]}'. There are: {', '.join(BENCHMARKS)}.",
            file=sys.stderr,
        )
        return 2
    # What is told to end stops the servers that it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sections = {}
    for name in names or BENCHMARKS:
        print(f"\n{BENCHMARKS[name]} …", flush=True)
        start = time.monotonic()
        figures = importlib.import_module(f"tests.bench.bench_{name}").measure()
        print(markdown_table(figures) + f"\n({time.monotonic() - start:.0f} s)", flush=True)
        sections[name] = figures
    _write(sections)
    return 0


def _write(sections: dict[str, list[Figure]]) -> None:
    """Replace the sections measured now, and keep the others."""
    old = _old_sections()
    machine = f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}"
    stamp = f"Measured {datetime.now(UTC):%Y-%m-%d} on {machine}. Other processes used the machine, so compare ratios, not times."
    for name, figures in sections.items():
        old[name] = f"{stamp} Command: `make bench ARGS={name}`\n\n{markdown_table(figures)}\n"
    parts = ["# Benchmark results\n\n`make bench` repeats all measurements and writes this file.\n"]
    parts += [f"## {title}\n\n{old[name]}" for name, title in BENCHMARKS.items() if name in old]
    RESULTS.write_text("\n".join(parts))


def _old_sections() -> dict[str, str]:
    if not RESULTS.exists():
        return {}
    titles = {title: name for name, title in BENCHMARKS.items()}
    found = {}
    for block in RESULTS.read_text().split("\n## ")[1:]:
        title, _, body = block.partition("\n\n")
        if title in titles:
            found[titles[title]] = body.rstrip("\n") + "\n"
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
