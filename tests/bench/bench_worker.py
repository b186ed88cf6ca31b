"""The whole path of a worker against what the machine allows, beside the loop of the cattle
counter.

What the machine allows: the core-seconds per frame of every step, added up, over the number of
cores. Run it alone with `python -m tests.bench.bench_worker`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import uuid
from datetime import datetime
from pathlib import Path

from ml_engine.detection.loading import bundled_checkpoint
from tests.bench.clips import repeat_video
from tests.bench.figures import Figure, markdown_table, ratio_figure
from tests.bench.worker_steps import STEPS, StepCosts
from tests.support.servers import start_azurite
from tests.support.stack import SAMPLE, TRUTH, Stack

REPEATS = 4
OLD_LOOP_FRAMES = 40


def measure(*, pairs: int = 7) -> list[Figure]:
    """Return the figures of this benchmark.

    Args:
        pairs: How often the whole path and the steps are measured, in turn.
    """
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        base = Path(folder)
        clip = base / "clip.mp4"
        repeat_video(SAMPLE, clip, REPEATS)
        azurite = start_azurite(base / "azurite")
        stack = Stack(
            azurite, base / "stack", lambda prefix: f"{prefix}-{uuid.uuid4().hex[:12]}", {}
        )
        try:
            stack.start_api()
            stack.start_worker()
            _seconds_per_frame(stack, SAMPLE)
            costs = StepCosts(clip, cache_dir=base / "stack" / "data" / "cache")
            rounds = []
            for number in range(pairs):
                if number % 2 == 0:
                    path_s = _seconds_per_frame(stack, clip)
                    rounds.append((path_s, costs.measure(), _old_loop()))
                else:
                    old_fps, cost = _old_loop(), costs.measure()
                    rounds.append((_seconds_per_frame(stack, clip), cost, old_fps))
            costs.close()
            return _figures(rounds, costs.cores)
        finally:
            stack.stop()
            azurite.stop()


def _seconds_per_frame(stack: Stack, clip: Path) -> float:
    job_id = stack.submit(clip)
    job = stack.wait(job_id, timeout_s=600)
    if job["state"] != "completed":
        raise RuntimeError(f"the job ended as {job['state']}: {job['error']}\n{stack.logs()}")
    took = datetime.fromisoformat(job["completed_at_utc"]) - datetime.fromisoformat(
        job["created_at_utc"]
    )
    return took.total_seconds() / job["progress"]["frames_total"]


def _old_loop() -> float:
    argv = [
        sys.executable,
        "-m",
        "tests.bench.old_loop",
        str(SAMPLE),
        str(bundled_checkpoint()),
        str(OLD_LOOP_FRAMES),
    ]
    return float(
        subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()[-1]
    )


def _figures(rounds: list[tuple[float, dict[str, float], float]], cores: int) -> list[Figure]:
    ratios = [sum(cost.values()) / cores / path_s for path_s, cost, _ in rounds]
    path_fps = statistics.median(1 / path_s for path_s, _, _ in rounds)
    figures = [
        ratio_figure("whole worker path over what the machine allows", ratios, at_least=0.85),
        Figure(
            f"whole worker path, {TRUTH['width']}×{TRUTH['height']}, bundled detector",
            f"{path_fps:.1f} frames/s",
        ),
    ]
    for step in STEPS:
        cost_ms = statistics.median(cost[step] for _, cost, _ in rounds) * 1000
        figures.append(Figure(f"step «{step}», every core busy", f"{cost_ms:.2f} core-ms a frame"))
    figures.append(
        Figure(
            "the cattle counter's loop, same checkpoint in torch",
            f"{statistics.median(r[2] for r in rounds):.1f} frames/s",
        )
    )
    figures.append(
        ratio_figure(
            "whole worker path over the cattle counter's loop",
            [1 / path_s / old for path_s, _, old in rounds],
        )
    )
    return figures


if __name__ == "__main__":
    print(markdown_table(measure()))
