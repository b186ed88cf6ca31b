"""Cost of a frame with each published detector: `python -m tests.bench.bench_detectors [NAME ...]`.

Writes the table of docs/explanation/detector.md.

Weights are random, which changes no time. A detector is measured in a process of its own, so that
none pays for another's memory. What is measured is core time, and a frame's is shared out over two
cores: on a machine that others use, too, a clock on the wall says little.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure, markdown_table
from tests.support.architectures import ARCHITECTURES, Architecture
from tests.support.published_checkpoints import write_checkpoint

REPOSITORY = Path(__file__).parents[2]
TABLE = REPOSITORY / "docs" / "explanation" / "detector.md"
HEADER = (
    "detector",
    "published as",
    "licence",
    "parameters",
    "input",
    "OpenVINO",
    "torch",
    "conversion",
)
FRAME_WH = (1280, 720)
CORES = 2


def measure() -> list[Figure]:
    """Measure all detectors."""
    return [_figure(architecture) for architecture in ARCHITECTURES]


def _figure(architecture: Architecture) -> Figure:
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "tests.bench.bench_detectors",
        "--one",
        architecture.name,
    ]
    # A thread of torch's that waits for another one would count as one that works.
    quiet = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    answer = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=True, env=quiet
    )
    found = json.loads(answer.stdout.splitlines()[-1])
    cells = [
        architecture.name,
        f"`{architecture.published}`",
        architecture.licence,
        f"{found['parameters'] / 1e6:.1f} M",
        found["input"],
        *(_time(found[device]) for device in ("openvino", "torch")),
        f"{found['conversion_s']:.0f} s",
    ]
    write_row(cells)
    openvino, torch = cells[5:7]
    return Figure(
        f"{architecture.name}, {cells[3]} parameters, input {cells[4]}",
        f"OpenVINO {openvino}, torch {torch} a frame",
    )


def _time(seconds: float | None) -> str:
    return "falls back to torch" if seconds is None else f"{1000 * seconds:.0f} ms"


def write_row(cells: list[str]) -> None:
    """Put one detector's row into the table, in the order of `ARCHITECTURES`."""
    before, _, rest = TABLE.read_text(encoding="utf-8").partition(f"| {' | '.join(HEADER)} |\n")
    lines = rest.splitlines()
    end = next(
        (number for number, line in enumerate(lines) if not line.startswith("|")), len(lines)
    )
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in lines[1:end]}
    rows[cells[0]] = f"| {' | '.join(cells)} |"
    ordered = [rows[one.name] for one in ARCHITECTURES if one.name in rows]
    table = [f"| {' | '.join(HEADER)} |", "|---|---|---|---:|---|---:|---:|---:|", *ordered]
    TABLE.write_text(before + "\n".join([*table, *lines[end:]]) + "\n", encoding="utf-8")


def measure_one(name: str) -> dict[str, Any]:
    """Measure one detector in this process.

    Returns:
        {parameters, input, conversion_s, openvino, torch}: seconds a frame; None where OpenVINO
        cannot take it over.
    """
    import numpy as np

    from core.errors import DetectorError
    from ml_engine.detection.loading import load_detector
    from ml_engine.detection.runtimes.checkpoint import open_checkpoint
    from ml_engine.detection.runtimes.openvino_conversion import REFUSED

    architecture = next(one for one in ARCHITECTURES if one.name == name)
    frame = np.random.default_rng(0).integers(0, 256, (FRAME_WH[1], FRAME_WH[0], 3), np.uint8)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "checkpoint"
        found: dict[str, Any] = {"parameters": write_checkpoint(architecture, folder, small=False)}
        height, width = open_checkpoint(str(folder)).preprocessing.input_hw(frame.shape[:2])
        found["input"] = f"{width} × {height}"
        for device in ("torch", "openvino"):
            began = time.process_time()
            try:
                detector = load_detector(
                    str(folder), name=name, device=device, cache_dir=Path(scratch), threads=CORES
                )
                detector.detect([frame])
            except DetectorError as error:
                if error.code != REFUSED:
                    raise
                found[device] = None
            finally:
                found["conversion_s"] = time.process_time() - began
            if device not in found:
                found[device] = _seconds_a_frame(detector, frame)
                detector.close()
    return found


def _seconds_a_frame(detector: Any, frame: Any) -> float:
    """As many frames at once as the runtime usefully takes: OpenVINO gives each core one, torch
    shares one out among them.
    """
    from concurrent.futures import ThreadPoolExecutor

    began = time.process_time()
    with ThreadPoolExecutor(detector.concurrency) as pool:
        list(pool.map(lambda _: detector.detect([frame]), range(detector.concurrency)))
    return (time.process_time() - began) / detector.concurrency / CORES


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
        print(json.dumps(measure_one(sys.argv[2])))
    else:
        print(
            markdown_table(
                [
                    _figure(one)
                    for one in ARCHITECTURES
                    if one.name in sys.argv[1:] or not sys.argv[1:]
                ]
            )
        )
