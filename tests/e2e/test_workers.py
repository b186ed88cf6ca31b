"""Workers share a video, workers die: the result is the same, byte for byte, and finished segments are not detected again."""

from __future__ import annotations

import time

import pytest

from tests.support.stack import SAMPLE, Stack

SHORT_SEGMENTS = {"MUSTER_SEGMENT_FRAMES": "50", "MUSTER_VISIBILITY_S": "3"}
SEGMENTS = 6


def result_files(stack: Stack, job_id: str) -> dict[str, bytes]:
    """Return every artefact but run.json, which holds timings."""
    listed = stack.client.get(f"/api/v1/jobs/{job_id}/artifacts").json()["items"]
    return {
        item["name"]: stack.artifact(job_id, item["name"])
        for item in listed
        if item["name"] != "run.json"
    }


def same_but_for_ids(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    assert set(one) == set(other)
    for name in one:
        assert one[name] == other[name], f"{name} differs"


@pytest.fixture(scope="module")
def kept() -> dict[str, bytes]:
    """What the first test that needs it made, for the others."""
    return {}


@pytest.fixture
def undisturbed(make_stack, kept: dict[str, bytes]) -> dict[str, bytes]:
    """The results of one worker that nothing disturbs."""
    if not kept:
        stack = make_stack(**SHORT_SEGMENTS)
        stack.start_worker()
        job_id = stack.submit(SAMPLE)
        assert stack.wait(job_id)["state"] == "completed", stack.logs()
        kept.update(result_files(stack, job_id))
        stack.stop()
    return kept


@pytest.mark.slow
def test_two_workers_share_the_segments(make_stack, undisturbed: dict[str, bytes]) -> None:
    stack = make_stack(**SHORT_SEGMENTS)
    for _ in range(2):
        stack.start_worker()
    job_id = stack.submit(SAMPLE)
    assert stack.wait(job_id)["state"] == "completed", stack.logs()
    detected = stack.actions("segment_detected")
    assert sorted(line["segment"] for line in detected) == list(range(len(detected)))
    assert len(detected) >= SEGMENTS
    assert len({line["worker"] for line in detected}) == 2
    same_but_for_ids(undisturbed, result_files(stack, job_id))


@pytest.mark.slow
def test_a_worker_killed_mid_segment_costs_one_segment(
    make_stack, undisturbed: dict[str, bytes]
) -> None:
    stack = make_stack(**SHORT_SEGMENTS)
    doomed = stack.start_worker()
    job_id = stack.submit(SAMPLE)
    stack.wait(
        job_id,
        until=lambda job: 0 < job["progress"]["frames_done"] < job["progress"]["frames_total"],
    )
    time.sleep(0.1)
    doomed.kill()
    finished_before = {line["segment"] for line in stack.actions("segment_detected")}
    assert 0 < len(finished_before) < SEGMENTS + 2
    stack.start_worker()
    assert stack.wait(job_id)["state"] == "completed", stack.logs()
    detected = [line["segment"] for line in stack.actions("segment_detected")]
    assert all(detected.count(segment) == 1 for segment in finished_before), (
        "a finished segment was detected again"
    )
    same_but_for_ids(undisturbed, result_files(stack, job_id))


@pytest.mark.slow
def test_a_worker_killed_between_its_last_log_and_its_message(
    make_stack, undisturbed: dict[str, bytes]
) -> None:
    stack = make_stack(**SHORT_SEGMENTS)
    doomed = stack.start_worker("tests.support.dying_worker", "last_log_written")
    job_id = stack.submit(SAMPLE)
    deadline = time.monotonic() + 120
    while doomed.alive:
        assert time.monotonic() < deadline, stack.logs()
        time.sleep(0.05)
    assert stack.job(job_id)["state"] == "detecting"
    finished_before = [line["segment"] for line in stack.actions("segment_detected")]
    stack.start_worker()
    assert stack.wait(job_id)["state"] == "completed", stack.logs()
    assert [line["segment"] for line in stack.actions("segment_detected")] == finished_before, (
        "a finished segment was detected again"
    )
    assert stack.actions("segment_found")
    same_but_for_ids(undisturbed, result_files(stack, job_id))
