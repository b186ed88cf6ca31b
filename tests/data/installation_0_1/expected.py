"""What the release says of the installation, in its own words."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

COMMIT = "5549ce6"
SETTINGS: dict[str, Any] = {
    "camera": "north",
    "recorded_at_utc": "2026-05-01T12:00:00Z",
    "lines": [{"name": "ford", "start": [0, 78], "end": [400, 78]}],
}
FLIGHT = {"nadir": True, "heading_deg": 30, "hfov_deg": 70}
KEPT = (
    "id",
    "state",
    "attempt",
    "counts",
    "error",
    "expired",
    "artifacts",
    "created_at_utc",
    "completed_at_utc",
)
"""What of a job is remembered."""


async def _hashes(store: Any) -> dict[str, str]:
    names = [info.name async for info in store.list("")]
    return {name: hashlib.sha256(await store.get(name)).hexdigest() for name in names}


def _check_states(jobs: dict[str, Any]) -> None:
    """Fail where a job is not in the state that it was made for."""
    wanted = {"recounted": "completed", "expired": "completed"}
    for name, job in jobs.items():
        first = name.partition("_")[0]
        assert job.state == wanted.get(first, first), (
            f"{name} is {job.state}: was this machine too slow, and a lease over?"
        )


def what_there_is(stack: Any, ids_by_name: dict[str, str], uploads: list[str]) -> dict[str, Any]:
    """Return what there is, in the release's own words."""
    views = {name: stack.job(job_id) for name, job_id in ids_by_name.items()}

    async def read(ports: Any) -> dict[str, Any]:
        blobs = {
            "sources": await _hashes(ports.sources),
            "results": await _hashes(ports.results),
        }
        jobs = {name: await ports.jobs.get(job_id) for name, job_id in ids_by_name.items()}
        ids = {*ids_by_name.values()}
        recounted = f"jobs/{ids_by_name['recounted']}/"
        statistics = {name: await ports.stats.get(job.id) for name, job in jobs.items()}
        assert statistics["completed"].total_in == 1
        _check_states(jobs)
        queues = {"queue": ports.queue, "detect": ports.detect_queue}
        return {
            "commit": COMMIT,
            "settings": SETTINGS,
            "flight": FLIGHT,
            "jobs": {
                name: {key: view[key] for key in KEPT}
                | {
                    "revision": jobs[name].result_revision,
                    "done_segments": jobs[name].done_segments,
                    "steps": jobs[name].step_starts,
                }
                for name, view in views.items()
            },
            "statistics": {
                name: record.model_dump(mode="json")
                for name, record in statistics.items()
                if record is not None
            },
            "webhooks": {
                name: [e.model_dump(mode="json") for e in await ports.webhooks.of_job(job.id)]
                for name, job in jobs.items()
            },
            "messages": {
                name: dataclasses.asdict(await queue.depth()) | {"oldest_at_utc": None}
                for name, queue in queues.items()
            },
            "uploads": uploads,
            "orphans": [
                name
                for name in blobs["sources"]
                if name.startswith("jobs/") and name.split("/")[1] not in ids
            ],
            "unpublished": [
                name
                for name in blobs["results"]
                if name.startswith(recounted) and "/r0001-" in name
            ],
            "blobs": blobs,
        }

    return stack.with_ports(read)
