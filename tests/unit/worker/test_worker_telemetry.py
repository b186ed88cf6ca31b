"""A drone's telemetry through the worker: found when a job is planned, handed to `assemble`; a bad
track costs nothing but itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.domain.job import SourceFile
from core.domain.message import JobMessage
from core.services.submission import telemetry as files
from core.telemetry import parse_srt
from tests.support.worker_stand import WorkerStand
from tests.unit.core.test_telemetry import srt_of


def flight(*latitudes: float) -> bytes:
    return srt_of(
        *(
            f"[latitude: {value}] [longitude: 11.5] [rel_alt: 50.0 abs_alt: 549.6]"
            for value in latitudes
        )
    )


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[WorkerStand]:
    stand = WorkerStand(tmp_path)
    yield stand
    stand.close()


async def give(stand: WorkerStand, file_index: int, data: bytes) -> None:
    """Record telemetry as a submission does."""
    job = await stand.job()
    info = await stand.ports.sources.put(f"jobs/job1/telemetry/{file_index:03d}.srt", data)
    found = files.described("uploaded", f"{file_index}.srt", info, parse_srt(data))
    changed = [
        file.model_copy(update={"telemetry": found}) if i == file_index else file
        for i, file in enumerate(job.files)
    ]
    await stand.ports.jobs.update(
        "job1", attempt=1, expected=("queued",), at=stand.timer.now(), changes={"files": changed}
    )


async def file_of(stand: WorkerStand, index: int = 0) -> SourceFile:
    return (await stand.job()).files[index]


async def test_what_was_sent_reaches_assemble(stand: WorkerStand) -> None:
    await stand.submit()
    await give(stand, 0, flight(48.1, 48.2))
    await stand.drain(stand.worker())
    telemetry = stand.engine.telemetry
    assert telemetry is not None
    assert (telemetry.time_s.tolist(), telemetry.latitude.tolist()) == ([0, 1], [48.1, 48.2])
    assert stand.engine.calls["read_telemetry_track"] == 0
    assert (await stand.job()).state == "completed"


async def test_without_any_there_is_none(stand: WorkerStand) -> None:
    await stand.submit()
    await stand.drain(stand.worker())
    assert stand.engine.telemetry is None
    assert (await file_of(stand)).telemetry is None
    assert [blob.name async for blob in stand.ports.sources.list_blobs("jobs/job1/telemetry")] == []


async def test_a_track_within_the_video_is_found_told_and_stored(stand: WorkerStand) -> None:
    await stand.submit(b"35 frames\n" + flight(48.1, 48.2, 48.3))
    await stand.drain(stand.worker())
    found = (await file_of(stand)).telemetry
    assert found is not None
    assert (found.source, found.name, found.samples, found.has_position) == (
        "embedded",
        "0.mp4",
        3,
        True,
    )
    assert found.blob == "jobs/job1/telemetry/track-000.srt"
    assert await stand.ports.sources.get(found.blob, if_match=found.etag) == flight(
        48.1, 48.2, 48.3
    )
    assert stand.engine.telemetry is not None
    assert stand.engine.telemetry.latitude.tolist() == [48.1, 48.2, 48.3]


async def test_times_of_several_files_are_those_of_the_recording(stand: WorkerStand) -> None:
    """The second file has none; the third one begins after 3.5 + 2 seconds."""
    await stand.submit(b"35 frames\n" + flight(48.1, 48.2), b"20 frames", b"15 frames")
    await give(stand, 2, flight(49.1, 49.2))
    await stand.drain(stand.worker())
    plan = (await stand.job()).plan
    assert plan is not None and plan.file_starts_s == (0.0, 3.5, 5.5)
    telemetry = stand.engine.telemetry
    assert telemetry is not None
    np.testing.assert_allclose(telemetry.time_s, [0, 1, 5.5, 6.5])
    assert telemetry.latitude.tolist() == [48.1, 48.2, 49.1, 49.2]


async def test_a_recount_reads_it_again(stand: WorkerStand) -> None:
    await stand.submit(b"35 frames\n" + flight(48.1))
    worker = stand.worker()
    await stand.drain(worker)
    stand.engine.telemetry = None
    job = await stand.job()
    await stand.ports.jobs.begin_attempt(
        "job1", expected_attempt=1, settings=job.settings, state="assembling", at=stand.timer.now()
    )
    await stand.dispatcher.send(JobMessage(job_id="job1", attempt=2, step="assemble"))
    await stand.drain(worker)
    assert stand.engine.telemetry is not None
    assert stand.engine.telemetry.latitude.tolist() == [48.1]
    assert stand.engine.calls["read_telemetry_track"] == 1


def wild(*_: Any) -> None:
    raise ArithmeticError("nobody foresaw this")


@pytest.mark.parametrize(
    ("track", "hook", "code"),
    [
        (srt_of("Look at all those cows!"), None, None),
        (flight(48.1), wild, "telemetry_unreadable"),
    ],
    ids=["other subtitles", "unforeseen"],
)
async def test_a_bad_track_fails_no_job(
    stand: WorkerStand, track: bytes, hook: Any, code: str | None
) -> None:
    if hook:
        stand.engine.hooks["read_telemetry_track"] = hook
    await stand.submit(b"35 frames\n" + track)
    await stand.drain(stand.worker())
    assert (await stand.job()).state == "completed"
    found = (await file_of(stand)).telemetry
    told = [remark.code for remark in found.warnings] if found else []
    assert told == ([code] if code else [])
    assert (found is None or found.blob is None) and [
        b.name async for b in stand.ports.sources.list_blobs("jobs/job1/telemetry")
    ] == []
    given = stand.engine.telemetry
    assert ([] if given is None else [remark.code for remark in given.warnings]) == told
    if given is not None:
        assert len(given) == 0
        assert "0.mp4" in given.warnings[0].message


async def test_a_bad_track_beside_a_good_one_is_told_too(stand: WorkerStand) -> None:
    await stand.submit(b"35 frames\n" + flight(48.1), b"15 frames")
    stand.engine.hooks["read_telemetry_track"] = wild
    await give(stand, 0, flight(48.1))
    await stand.drain(stand.worker())
    telemetry = stand.engine.telemetry
    assert telemetry is not None
    assert (telemetry.latitude.tolist(), telemetry.dialect) == ([48.1], "bracket")
    assert telemetry.warnings[-1].code == "telemetry_unreadable"


async def test_a_redelivered_plan_leaves_the_stored_track_as_it_is(stand: WorkerStand) -> None:
    """Of two deliveries at once the later one must not change the ETag that the earlier one has
    recorded.
    """
    await stand.submit(b"35 frames\n" + flight(48.1))
    earlier = await stand.ports.sources.put("jobs/job1/telemetry/track-000.srt", flight(48.1))
    await stand.drain(stand.worker())
    found = (await file_of(stand)).telemetry
    assert found is not None
    assert found.etag == earlier.etag
    assert (await stand.job()).state == "completed"


async def test_telemetry_that_was_written_over_fails_the_job_with_the_reason(
    stand: WorkerStand,
) -> None:
    await stand.submit()
    await give(stand, 0, flight(48.1))
    await stand.ports.sources.put("jobs/job1/telemetry/000.srt", flight(0.5))
    await stand.drain(stand.worker())
    job = await stand.job()
    assert (job.state, job.error and job.error.step) == ("failed", "assemble")
