"""Recovery beside what went on meanwhile: nothing that is made again is lost again, or made twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.domain.blobs import result_blob, source_blob, submission_blob
from core.domain.housekeeping import HousekeepingRules
from core.domain.job import Job
from core.domain.results import ClassCounts
from core.ports import JobFilter
from core.services.access.limits import Limits
from core.services.attempts.retry import retry
from core.services.housekeeping.keeper import Housekeeping
from core.services.housekeeping.orphans import Orphans
from core.services.housekeeping.recovery import recover
from tests.support.api_stand import make_job
from tests.support.worker_stand import WorkerStand

LIMITS = Limits(max_upload_bytes=10**6, max_files=5, upload_minutes=60)
HOUR = timedelta(hours=1)
CATTLE = ClassCounts(unique=3, low=3, high=3, peak=3, mean=3.0)


def key(number: int) -> str:
    return f"{number:032x}"


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[WorkerStand]:
    stand = WorkerStand(tmp_path)
    yield stand
    stand.close()


async def stored(stand: WorkerStand, number: int = 1, *, files: int = 2, **fields: Any) -> Job:
    """Store what acceptance stores, and no record: it was made after the backup."""
    job = make_job(key(number), stand.timer.now(), **fields)
    first = job.files[0]
    job = job.model_copy(
        update={
            "files": tuple(
                first.model_copy(update={"name": f"{i}.mp4", "blob": source_blob(job.id, i)})
                for i in range(files)
            )
        }
    )
    for file in job.files:
        await stand.ports.sources.put(file.blob, b"film")
    await stand.ports.results.put(submission_blob(job.id), job.model_dump_json().encode())
    return job


async def publish(
    stand: WorkerStand, number: int, revision: str, results: bytes | None = None
) -> None:
    good = json.dumps({"settings": {}, "counts": {"cattle": CATTLE.model_dump()}}).encode()
    await stand.ports.results.put(
        result_blob(key(number), revision, "results.json"), good if results is None else results
    )
    for name in ("annotated.mp4", "run.json"):
        await stand.ports.results.put(result_blob(key(number), revision, name), b"{}")


async def blobs(stand: WorkerStand) -> dict[str, str]:
    stores = (stand.ports.sources, stand.ports.results)
    return {
        info.name: info.etag
        for store in stores
        for info in (await store.page("", limit=10_000)).items
    }


async def again(stand: WorkerStand, *numbers: int) -> list[Job]:
    return await recover(stand.ports, stand.timer.now, [key(number) for number in numbers or (1,)])


async def swept(stand: WorkerStand, days: float) -> None:
    stand.timer.advance(days * 86400)
    await Orphans(stand.ports, stand.timer.now, least_age=HOUR, upload_life=HOUR).run(pages=None)


# ---------------------------------------------------------------- results that recovery cannot read


@pytest.mark.parametrize(
    "newest",
    [
        *(b"", b"[]", b'{"settings": {"of_a_newer_release": 1}, "counts": {}}'),
        b'{"settings": {}, "counts": {"cattle": {"unique": 3}}}',
    ],
)
async def test_results_that_cannot_be_read_stay_and_an_older_revision_that_can_is_taken(
    stand: WorkerStand, newest: bytes
) -> None:
    await stored(stand)
    await publish(stand, 1, "r0001-aaaaaaaa")
    await publish(stand, 1, "r0002-bbbbbbbb", newest)
    (job,) = await again(stand)
    assert (job.state, job.result_revision, job.counts) == (
        "completed",
        "r0001-aaaaaaaa",
        {"cattle": CATTLE},
    )
    before = await blobs(stand)
    await swept(stand, 30)
    assert await blobs(stand) == before


@pytest.mark.parametrize(
    "broken", [b"", b"[]", b'{"settings": {"of_a_newer_release": 1}, "counts": {}}']
)
async def test_results_of_which_none_can_be_read_are_not_swept_away(
    stand: WorkerStand, broken: bytes
) -> None:
    await stored(stand)
    await publish(stand, 1, "r0003-cccccccc", broken)
    (job,) = await again(stand)
    assert (job.state, job.error and job.error.code) == ("failed", "recovered")
    before = await blobs(stand)
    await swept(stand, 30)
    assert await blobs(stand) == before
    assert (job.attempt, job.result_revision, job.artifacts) == (
        3,
        "r0003-cccccccc",
        ("results.json", "annotated.mp4", "run.json"),
    )


# ---------------------------------------------------------------- a request that was sent again


async def test_a_request_that_was_sent_again_since_is_not_counted_twice(stand: WorkerStand) -> None:
    asked: dict[str, Any] = {"owner": "north", "idempotency_key": "k", "request_hash": "h"}
    await stored(stand, 1, **asked)
    since = await stand.ports.jobs.add(make_job(key(2), stand.timer.now(), **asked))
    assert await again(stand) == []
    assert await stand.ports.jobs.get(key(2)) == since
    assert await stand.ports.jobs.outlines([key(1)]) == {}
    assert source_blob(key(1), 0) in await blobs(stand)


async def test_a_key_that_stands_for_other_content_by_now_costs_no_job(stand: WorkerStand) -> None:
    asked: dict[str, Any] = {"owner": "north", "idempotency_key": "k"}
    await stored(stand, 1, **asked, request_hash="of the film that was lost")
    await stand.ports.jobs.add(
        make_job(key(2), stand.timer.now(), **asked, request_hash="of another film")
    )
    (job,) = await again(stand)
    assert (job.id, job.owner, job.idempotency_key, job.request_hash) == (
        key(1),
        "north",
        None,
        None,
    )
    assert await again(stand) == []


async def test_two_recoveries_at_once_make_each_record_once(stand: WorkerStand) -> None:
    for number in range(1, 6):
        await stored(stand, number, owner="north", idempotency_key=f"k{number}", request_hash="h")
    first, second = await asyncio.gather(again(stand, *range(1, 6)), again(stand, *range(1, 6)))
    assert {job.id for job in (*first, *second)} == {key(number) for number in range(1, 6)}
    assert len((await stand.ports.jobs.list_page(JobFilter(), limit=100)).items) == 5


# ---------------------------------------------------------------- films of which a part is gone


@pytest.mark.parametrize("gone", [0, 1, 2])
async def test_a_recording_of_which_a_file_is_gone_is_not_counted_as_a_whole_one(
    stand: WorkerStand, gone: int
) -> None:
    first = await stored(stand, files=3)
    await stand.ports.sources.delete(source_blob(first.id, gone))
    (job,) = await again(stand)
    assert [file.name for file in job.files] == ["0.mp4", "1.mp4", "2.mp4"]
    await retry(stand.ports, stand.dispatcher, stand.timer.now, job.id, owner=None)
    await stand.drain(stand.worker())
    ended = await stand.job(job.id)
    assert ended.error is not None
    assert (ended.state, ended.error.code) == (
        "failed",
        "source_missing",
    ) and f"'{gone}.mp4'" in ended.error.message


# ---------------------------------------------------------------- retention


@pytest.mark.parametrize("numbers", [21, 60])
async def test_what_was_made_again_does_not_expire_at_once(
    stand: WorkerStand, numbers: int
) -> None:
    """The retention of the database that adopts has long been accepted; the jobs are old."""
    rules = HousekeepingRules(timedelta(days=999), HOUR, HOUR, timedelta(days=30))
    sweep = Housekeeping(stand.ports, stand.dispatcher, stand.timer.now, rules)
    assert (await sweep.run()).held is False
    for number in range(1, numbers + 1):
        await stored(stand, number, files=1)
    stand.timer.advance(90 * 86400)
    assert len(await again(stand, *range(1, numbers + 1))) == numbers
    before = await blobs(stand)
    report = await sweep.run(everything=True)
    assert (report.held, report.expired) == (True, 0)
    assert await blobs(stand) == before
    stand.timer.advance(86400)
    assert (await sweep.run(everything=True)).expired == numbers, "after the wait it goes on"
