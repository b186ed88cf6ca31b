"""The four steps on ports in memory: the usual way, and every message twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from core.domain.analysis import AnalysisSettings
from core.domain.identity import Tombstone
from core.domain.message import JobMessage
from core.errors import InvalidSettings
from tests.support.worker_stand import VISIBILITY_S, WorkerStand


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[WorkerStand]:
    stand = WorkerStand(tmp_path)
    yield stand
    stand.close()


async def test_a_job_goes_through_all_its_steps(stand: WorkerStand) -> None:
    await stand.submit(camera="gate")
    messages = await stand.drain(stand.worker())
    assert [message.step_key for message in messages] == [
        "plan",
        "detect:0",
        "detect:1",
        "detect:2",
        "detect:3",
        "assemble",
        "render",
    ]
    job = await stand.job()
    assert job.state == "completed"
    assert job.result_revision is not None and job.result_revision.startswith("r0001-")
    assert job.result_revision == job.staged_revision
    assert job.done_segments == (0, 1, 2, 3)
    pictures = ("contact_sheet.jpg", "annotated.mp4", "preview.jpg")
    assert job.artifacts == (
        "results.json",
        "tracks.csv",
        "timeline.csv",
        "animals.csv",
        *pictures,
        "run.json",
    )
    assert await stand.artifact("contact_sheet.jpg") == b"1 of 3"
    assert job.counts is not None and job.counts["cattle"].unique == 3
    assert job.completed_at_utc == stand.timer.now()
    assert job.step_starts == {} and job.step_failures == {} and job.error is None
    statistics = await stand.ports.stats.get("job1")
    assert statistics is not None
    assert (statistics.attempt, statistics.revision, statistics.camera, statistics.frames) == (
        1,
        job.result_revision,
        "gate",
        35,
    )
    assert (statistics.total_in, statistics.total_out, statistics.classes["cattle"].peak) == (
        2,
        1,
        2,
    )
    assert statistics.timestamp_utc == job.created_at_utc


async def test_the_run_record_says_who_did_what(stand: WorkerStand) -> None:
    await stand.submit()
    await stand.drain(stand.worker("worker-a"), stand.worker("worker-b"))
    record = json.loads(await stand.artifact("run.json"))
    assert sorted(record["steps"]) == ["assemble", "detect", "render"]
    assert record["steps"]["detect"]["workers"] == ["worker-a", "worker-b"]
    assert [note["segment"] for note in record["segments"]] == [0, 1, 2, 3]
    assert {note["runtime"] for note in record["segments"]} == {"openvino:cpu"}
    assert record["segments_detected_in_this_attempt"] == 4
    assert record["versions"]["python"]


async def test_several_files_are_one_recording(stand: WorkerStand) -> None:
    await stand.submit(b"25 frames", b"12 frames")
    await stand.drain(stand.worker())
    job = await stand.job()
    assert job.state == "completed"
    assert job.plan is not None
    assert [(s.file_index, s.first_frame, s.frames) for s in job.plan.segments] == [
        (0, 0, 10),
        (0, 10, 10),
        (0, 20, 5),
        (1, 25, 10),
        (1, 35, 2),
    ]


async def test_without_rendering_assemble_publishes(stand: WorkerStand) -> None:
    await stand.submit(render=False)
    messages = await stand.drain(stand.worker())
    assert messages[-1].step == "assemble"
    job = await stand.job()
    assert job.state == "completed"
    assert "annotated.mp4" not in job.artifacts and "run.json" in job.artifacts
    assert stand.engine.calls["render"] == 0
    assert await stand.ports.stats.get("job1") is not None


async def test_the_detector_is_loaded_once_and_only_to_detect(stand: WorkerStand) -> None:
    worker = stand.worker()
    for number in (1, 2):
        await stand.submit(job_id=f"job{number}")
        await stand.drain(worker)
    assert stand.engine.calls["load_detector"] == 1
    assert stand.engine.calls["describe_detector"] == 2


async def test_recount_detects_nothing_and_loads_no_detector(stand: WorkerStand) -> None:
    await stand.submit()
    await stand.drain(stand.worker())
    first = await stand.blobs()
    settings = AnalysisSettings(lines=())
    await stand.ports.jobs.begin_attempt(
        "job1", expected_attempt=1, settings=settings, state="assembling", at=stand.timer.now()
    )
    await stand.dispatcher.send(JobMessage(job_id="job1", attempt=2, step="assemble"))
    stand.engine.calls.clear()
    await stand.drain(stand.worker("worker-b"))
    assert stand.engine.calls["load_detector"] == stand.engine.calls["detect_segment"] == 0
    job = await stand.job()
    assert (job.state, job.attempt) == ("completed", 2) and str(job.result_revision).startswith(
        "r0002-"
    )
    statistics = await stand.ports.stats.get("job1")
    assert statistics is not None and (statistics.attempt, statistics.revision) == (
        2,
        job.result_revision,
    )
    record = json.loads(await stand.artifact("run.json"))
    assert record["segments_detected_in_this_attempt"] == 0
    after = await stand.blobs()
    assert {name: data for name, data in after.items() if "/r0001/" in name} == first


async def test_a_recount_with_a_line_outside_the_picture_fails_and_keeps_what_is_published(
    stand: WorkerStand,
) -> None:
    await stand.submit()
    await stand.drain(stand.worker())

    def refuse(settings: AnalysisSettings) -> None:
        raise InvalidSettings("The line lies outside the picture.", code="line_outside_frame")

    published = (await stand.job()).result_revision
    stand.engine.hooks["check_settings"] = refuse
    await stand.ports.jobs.begin_attempt(
        "job1",
        expected_attempt=1,
        settings=AnalysisSettings(),
        state="assembling",
        at=stand.timer.now(),
    )
    await stand.dispatcher.send(JobMessage(job_id="job1", attempt=2, step="assemble"))
    await stand.drain(stand.worker())
    job = await stand.job()
    assert (job.state, job.result_revision) == ("failed", published)
    assert job.error is not None and (job.error.code, job.error.step) == (
        "line_outside_frame",
        "assemble",
    )
    statistics = await stand.ports.stats.get("job1")
    assert statistics is not None and statistics.attempt == 1


async def test_two_workers_share_a_job_and_give_the_same_result(
    stand: WorkerStand, tmp_path: Path
) -> None:
    await stand.submit()
    worker, other = stand.worker("worker-a"), stand.worker("worker-b")
    await stand.deliver(worker)
    received = [await stand.receive() for _ in range(4)]
    await asyncio.gather(
        *(
            who.process(*item)
            for who, item in zip((worker, other) * 2, received, strict=True)
            if item
        )
    )
    await stand.drain(worker, other)
    assert sorted(stand.engine.segments) == [0, 1, 2, 3]
    assert (await stand.job()).state == "completed"
    alone = WorkerStand(tmp_path / "alone")
    await alone.submit()
    await alone.drain(alone.worker())
    assert await stand.blobs() == await alone.blobs()
    alone.close()


@pytest.mark.parametrize("step", ["plan", "detect", "assemble", "render"])
async def test_each_message_may_come_twice(stand: WorkerStand, step: str) -> None:
    """The second one comes right after the first, after the next step, and after the job has ended."""
    await stand.submit()
    worker = stand.worker()
    _, lease = await stand.deliver_until(worker, step)
    message = JobMessage.from_bytes(lease.body)
    await stand.dispatcher.send(message)
    await stand.dispatcher.send(message)
    stand.timer.advance(VISIBILITY_S + 1)
    await stand.drain(worker)
    before = await stand.blobs()
    await stand.dispatcher.send(message)
    await stand.drain(worker)
    job = await stand.job()
    assert job.state == "completed" and str(job.result_revision).startswith("r0001-")
    assert await stand.blobs() == before
    assert sorted(stand.engine.segments) == [0, 1, 2, 3], "no segment is detected twice"


CRASHES = [
    "last_log_written",
    "assembling_not_sent",
    "rendering_not_sent",
    "statistics_not_written",
]


class Killed(BaseException):
    """Stands for `kill -9`: nothing after it runs, not even the settling."""


@pytest.mark.parametrize("point", CRASHES)
async def test_a_worker_killed_between_an_effect_and_its_message(
    stand: WorkerStand, point: str
) -> None:
    def die(here: str) -> None:
        if here == point:
            raise Killed

    await stand.submit()
    with pytest.raises(Killed):
        await stand.drain(stand.worker(reached=die))
    job = await stand.job()
    assert job.state != "completed" or await stand.ports.stats.get("job1") is None
    detected = list(stand.engine.segments)
    stand.timer.advance(VISIBILITY_S + 1)
    await stand.drain(stand.worker("worker-b"))
    job = await stand.job()
    assert job.state == "completed"
    assert stand.engine.segments == detected, "finished segments are not detected again"
    assert await stand.ports.stats.get("job1") is not None


async def test_an_older_attempts_message_is_acknowledged_without_work(stand: WorkerStand) -> None:
    await stand.submit()
    worker = stand.worker()
    queue, lease = await stand.deliver_until(worker, "render")
    await stand.ports.jobs.update(
        "job1",
        attempt=1,
        expected=("rendering",),
        at=stand.timer.now(),
        changes={"state": "cancelled"},
    )
    await stand.ports.jobs.begin_attempt(
        "job1",
        expected_attempt=1,
        settings=AnalysisSettings(),
        state="assembling",
        at=stand.timer.now(),
    )
    await worker.process(queue, lease)
    assert stand.engine.calls["render"] == 0
    assert (await stand.ports.queue.depth()).messages == 0
    job = await stand.job()
    assert (job.state, job.attempt, job.result_revision) == ("assembling", 2, None)


async def test_a_message_of_a_deleted_job_leaves_nothing_behind(stand: WorkerStand) -> None:
    await stand.submit()
    worker = stand.worker()
    await stand.deliver(worker)
    await stand.deliver(worker)
    # Announced, and then the process that was to delete it died; a worker went on in between.
    await stand.ports.ledger.bury(
        Tombstone(job_id="job1", reason="deleted", written_at_utc=stand.timer.now())
    )
    await stand.ports.jobs.delete("job1")
    await stand.drain(worker)
    assert [
        blob.name
        for store in (stand.ports.results, stand.ports.sources)
        async for blob in store.list_blobs("jobs/job1/")
    ] == []
    assert (await stand.ports.detect_queue.depth()).messages == 0
    assert stand.ports.detect_queue.poisoned == []


async def test_an_undecodable_message_is_quarantined_and_the_queue_goes_on(
    stand: WorkerStand,
) -> None:
    await stand.ports.queue.send(b"not json")
    await stand.ports.detect_queue.send(b'{"v":1,"job_id":"x","attempt":1,"step":"detect"}')
    await stand.submit()
    await stand.drain(stand.worker())
    assert [poisoned.body for poisoned in stand.ports.queue.poisoned] == [b"not json"]
    assert len(stand.ports.detect_queue.poisoned) == 1
    assert (await stand.job()).state == "completed"


async def test_no_temporary_file_stays(stand: WorkerStand) -> None:
    await stand.submit()
    await stand.drain(stand.worker())
    scratch = stand.scratches[0]
    assert list(scratch.path.iterdir()) == []
    assert stand.timer.now() - (await stand.job()).heartbeat_at_utc == timedelta(0)
