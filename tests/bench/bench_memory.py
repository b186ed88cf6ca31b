"""A worker's memory must not grow with the video: its peak over ten minutes against its peak over
one.

Run it alone with `python -m tests.bench.bench_memory`.
"""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path

from infra.azurite_server import AzuriteServer
from tests.bench.clips import repeat_video
from tests.bench.figures import Figure, markdown_table, memory_mib
from tests.support.servers import start_azurite
from tests.support.stack import SAMPLE, TRUTH, Stack

MIB = 2**20


def measure(*, minutes: tuple[int, int] = (1, 10), detect_fps: float = 2.0) -> list[Figure]:
    """Return the figures of this benchmark.

    Args:
        minutes: Lengths of the two videos.
        detect_fps: Frames a second to detect in; decoding, drawing and encoding see every frame all
            the same.
    """
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        base = Path(folder)
        azurite = start_azurite(base / "azurite")
        peaks = []
        try:
            for minute in minutes:
                clip = base / f"{minute}.mp4"
                repeat_video(SAMPLE, clip, round(60 * minute * TRUTH["fps"] / TRUTH["frames"]))
                peaks.append(_peak_mib(azurite, base / f"stack{minute}", clip, detect_fps))
        finally:
            azurite.stop()
    ratio = peaks[1] / peaks[0]
    what = f"worker's peak memory, {minutes[1]} min of video over {minutes[0]} min ({peaks[1]:.0f} / {peaks[0]:.0f} MiB)"
    return [Figure(what, f"{ratio:.3f}", "≤ 1.05", ratio <= 1.05)]


def _peak_mib(azurite: AzuriteServer, base: Path, clip: Path, detect_fps: float) -> float:
    stack = Stack(azurite, base, lambda prefix: f"{prefix}-{uuid.uuid4().hex[:12]}", {})
    try:
        stack.start_api()
        worker = stack.start_worker()
        job = stack.wait(stack.submit(clip, settings={"detect_fps": detect_fps}), timeout_s=1800)
        if job["state"] != "completed":
            raise RuntimeError(f"the job ended as {job['state']}: {job['error']}\n{stack.logs()}")
        # The kernel's own high-water mark: no peak falls between two looks.
        assert worker.process is not None
        return memory_mib("VmHWM", worker.process.pid)
    finally:
        stack.stop()


if __name__ == "__main__":
    print(markdown_table(measure()))
