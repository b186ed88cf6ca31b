"""How long a recount of the sample takes, from the request to `completed`, with and without the
annotated video.

Run it alone with `python -m tests.bench.bench_recount`.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure, markdown_table
from tests.support.servers import start_azurite
from tests.support.stack import SAMPLE, Stack


def _ended(job: dict[str, Any], attempt: int) -> bool:
    return job["attempt"] == attempt and job["state"] in ("completed", "failed")


def measure(*, times: int = 7) -> list[Figure]:
    """Return the figures of this benchmark."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        base = Path(folder)
        azurite = start_azurite(base / "azurite")
        stack = Stack(
            azurite, base / "stack", lambda prefix: f"{prefix}-{uuid.uuid4().hex[:12]}", {}
        )
        try:
            stack.start_api()
            stack.start_worker()
            job_id = stack.submit(SAMPLE)
            stack.wait(job_id)
            # A worker that has never seen the job's detector: whatever the recount needs, it is not
            # that.
            stack.workers[0].stop()
            stack.start_worker()
            time.sleep(1)
            figures = [_figure(stack, job_id, render, times) for render in (True, False)]
            loads = len(stack.actions("detector_loaded"))
            return [
                *figures,
                Figure(
                    "detectors loaded: for the job and all its recounts",
                    str(loads),
                    "1",
                    loads == 1,
                ),
            ]
        finally:
            stack.stop()
            azurite.stop()


def _figure(stack: Stack, job_id: str, render: bool, times: int) -> Figure:
    took = []
    for number in range(times):
        attempt = stack.job(job_id)["attempt"] + 1
        start = time.perf_counter()
        settings = {"thresholds": {"bison": 0.4 + 0.01 * number}, "render": render}
        stack.client.post(f"/api/v1/jobs/{job_id}/recount", json=settings).raise_for_status()
        job = stack.wait(job_id, until=partial(_ended, attempt=attempt))
        took.append(time.perf_counter() - start)
        if job["state"] != "completed":
            raise RuntimeError(f"{job}\n{stack.logs()}")
    median = statistics.median(took)
    what = f"recount of the sample {'with' if render else 'without'} a new annotated video, median of {times}"
    return Figure(what, f"{median:.2f} s", "< 2 s", median < 2)


if __name__ == "__main__":
    print(markdown_table(measure()))
