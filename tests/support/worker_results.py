"""Result files of the whole worker path: `python -m tests.support.worker_results OUT VIDEO…`.

Each video is uploaded to an API of its own, counted by a worker process and fetched into
`OUT/NAME`. Run it before and after a change, then compare both folders with
`tests.support.compare_results`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.support.servers import start_azurite
from tests.support.stack import Stack

TIMEOUT_S = 1800


def fetch_results(out: Path, videos: list[Path]) -> None:
    """Count videos through API, queue and worker.

    Args:
        out: Folder for the results, a folder for each video.
        videos: Paths of the videos; each becomes a job of default settings.
    """
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        azurite = start_azurite(base)
        stack = Stack(azurite, base, "compared-{}".format, {})
        try:
            stack.start_api()
            stack.start_worker()
            for video in videos:
                _fetch(stack, video, out / video.stem)
        finally:
            stack.stop()
            azurite.stop()


def _fetch(stack: Stack, video: Path, target: Path) -> None:
    job = stack.wait(stack.submit(video), timeout_s=TIMEOUT_S)
    assert job["state"] == "completed", f"{job}\n{stack.logs()}"
    target.mkdir(parents=True, exist_ok=True)
    for name in job["artifacts"]:
        (target / name).write_bytes(stack.artifact(job["id"], name))
    print(f"{video.name}: {', '.join(job['artifacts'])}", flush=True)


if __name__ == "__main__":
    fetch_results(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
