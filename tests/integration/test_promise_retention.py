"""What was kept as long as the operator allows is deleted, also when the sweeper dies of it; counts
stay, and readers are told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.ports import Ports
from infra.azurite_server import AzuriteServer
from tests.support.api_stand import MP4
from tests.support.quick_worker import SEGMENT_FRAMES
from tests.support.stack import DyingApis, Stack

KEPT_S = 1
RESULTS = {"log", "results", "submission.json"}
DEATHS = ("after:jobs.update:1", "after:results.delete_prefix:1", "after:sources.delete_prefix:1")


@pytest.fixture
def stack(
    azurite: AzuriteServer, tmp_path: Path, unique_name: Callable[[str], str]
) -> Iterator[Stack]:
    settings = {"MUSTER_SEGMENT_FRAMES": str(SEGMENT_FRAMES), "MUSTER_SWEEP_S": "0"}
    stack = Stack(azurite, tmp_path, unique_name, settings)
    stack.start_api()
    stack.start_worker("tests.support.quick_worker")
    yield stack
    stack.stop()


def stored(stack: Stack, job_id: str) -> set[str]:
    async def read(ports: Ports) -> set[str]:
        pages = [
            await store.page(f"jobs/{job_id}/", limit=1000)
            for store in (ports.sources, ports.results)
        ]
        return {info.name.split("/")[2] for page in pages for info in page.items}

    return stack.with_ports(read)


def is_done(stack: Stack, job_id: str) -> bool:
    return stack.with_ports(lambda ports: ports.jobs.get(job_id)).expired_at_utc is not None


def test_promise_videos_and_results_with_persons_expire(stack: Stack) -> None:
    files = {"file": ("a.mp4", MP4)}
    animals = stack.client.post("/api/v1/jobs", files=files).json()["id"]
    persons = stack.client.post(
        "/api/v1/jobs", files=files, data={"settings": '{"classes": ["cattle"]}'}
    ).json()["id"]
    before = {job_id: stack.wait(job_id) for job_id in (animals, persons)}
    assert {job["state"] for job in before.values()} == {"completed"}
    assert stored(stack, animals) == stored(stack, persons) == {"source", *RESULTS}

    # APIs that sweep every moment and keep nothing for more than a second; one after the other dies
    # in the midst of it.
    env = {**stack.env, "MUSTER_SWEEP_S": "0.5", "MUSTER_RETENTION_DAYS": str(KEPT_S / 86_400)}
    apis = DyingApis(env)
    try:
        for point in DEATHS:
            apis.start(point)
            apis.wait_death()
    finally:
        apis.stop()
    stack.restart_api(env)
    for job_id, job in before.items():
        assert (
            stack.wait(job_id, until=lambda job: is_done(stack, job["id"]), timeout_s=60)["counts"]
            == job["counts"]
        )
    shown = {job_id: stack.job(job_id) for job_id in before}
    assert (shown[animals]["expired"], stored(stack, animals)) == (["sources"], RESULTS)
    assert (shown[persons]["expired"], stored(stack, persons)) == (["sources", "results"], set())
    assert stack.artifact(animals, "results.json")
    refused = stack.client.get(f"/api/v1/jobs/{persons}/results")
    assert (refused.status_code, refused.json()["code"]) == (410, "expired")
    refused = stack.client.post(f"/api/v1/jobs/{persons}/recount", json={})
    assert (refused.status_code, refused.json()["code"]) == (410, "expired")
    assert stack.with_ports(lambda ports: ports.stats.get(persons)) is not None
