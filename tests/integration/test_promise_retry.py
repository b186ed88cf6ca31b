"""Promise: a retried job continues from what is stored, exactly once.

This holds however many callers ask for the retry, and whichever process dies.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from core.domain.clock import utc_now
from core.domain.job import ACTIVE
from core.services.attempts.dispatch import Dispatcher
from core.services.housekeeping.sweep import Sweeper
from infra.azurite_server import AzuriteServer
from tests.support.api_stand import MP4
from tests.support.quick_worker import SEGMENT_FRAMES
from tests.support.stack import DyingApis, Stack


@pytest.fixture(scope="module")
def stack(
    azurite: AzuriteServer,
    tmp_path_factory: pytest.TempPathFactory,
    unique_name: Callable[[str], str],
) -> Iterator[Stack]:
    settings = {
        "MUSTER_VISIBILITY_S": "30",
        "MUSTER_SEGMENT_FRAMES": str(SEGMENT_FRAMES),
        "MUSTER_TEST_PAUSES": json.dumps({"detect_segment": 0.7}),
        "MUSTER_SWEEP_S": "0",
    }
    stack = Stack(azurite, tmp_path_factory.mktemp("retry"), unique_name, settings)
    stack.start_api()
    stack.start_worker("tests.support.quick_worker")
    yield stack
    stack.stop()


def detected(stack: Stack, job_id: str) -> Counter[int]:
    return Counter(
        line["segment"] for line in stack.actions("segment_detected") if line["job_id"] == job_id
    )


def cancelled_midway(stack: Stack) -> tuple[str, set[int]]:
    """Return a job that was cancelled while it was detected, and the segments that were done."""
    job_id = stack.submit_bytes(MP4)
    stack.wait(job_id, until=lambda job: job["progress"]["frames_done"] >= 2 * SEGMENT_FRAMES)
    assert stack.client.post(f"/api/v1/jobs/{job_id}/cancel").status_code == 202
    return job_id, set(stack.with_ports(lambda ports: ports.jobs.get(job_id)).done_segments)


def test_promise_a_retry_keeps_finished_segments_and_begins_once(stack: Stack) -> None:
    job_id, kept = cancelled_midway(stack)
    assert len(kept) >= 2
    with ThreadPoolExecutor(10) as threads:
        answers = list(
            threads.map(lambda _: stack.client.post(f"/api/v1/jobs/{job_id}/retry"), range(10))
        )
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 9
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {
        "job_active"
    }
    job = stack.wait(job_id)
    assert (job["state"], job["attempt"], job["error"]) == ("completed", 2, None)
    assert {segment: detected(stack, job_id)[segment] for segment in kept} == dict.fromkeys(kept, 1)
    assert json.loads(stack.artifact(job_id, "results.json"))["video"]["frames"] == 35
    refused = stack.client.post(f"/api/v1/jobs/{job_id}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "job_completed")


def test_promise_a_retry_whose_api_dies_is_finished_by_the_sweeper(stack: Stack) -> None:
    job_id = stack.submit_bytes(MP4)
    stack.wait(job_id)
    failed = {
        "state": "failed",
        "error": {"code": "workers_died", "message": "Given up.", "step": "render"},
    }

    async def fail(ports) -> None:
        begun = await ports.jobs.begin_attempt(
            job_id,
            expected_attempt=1,
            settings=(await ports.jobs.get(job_id)).settings,
            state="assembling",
            at=utc_now(),
        )
        await ports.jobs.update(
            job_id, attempt=begun.attempt, expected=ACTIVE, at=utc_now(), changes=failed
        )

    stack.with_ports(fail)
    before = detected(stack, job_id)
    apis = DyingApis(stack.env)
    try:
        apis.post("after:jobs.begin_attempt:1", f"/api/v1/jobs/{job_id}/retry")
    finally:
        apis.stop()
    assert (stack.job(job_id)["state"], stack.job(job_id)["attempt"]) == ("assembling", 3)
    resent = stack.with_ports(
        lambda ports: Sweeper(ports, Dispatcher(ports), utc_now).run(
            visibility=timedelta(milliseconds=1)
        )
    )
    assert resent == 1
    job = stack.wait(job_id)
    assert (job["state"], job["attempt"]) == ("completed", 3)
    assert detected(stack, job_id) == before
