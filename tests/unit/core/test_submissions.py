"""Submissions that end on the way: what stays, what goes, and what the same request gets when it is
sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from core.domain.analysis import AnalysisSettings
from core.domain.blobs import submission_blob, submitting_blob
from core.domain.job import Job
from core.domain.message import JobMessage
from core.errors import InvalidInput, Unavailable, UnsupportedMedia
from core.services.access.limits import Limits
from core.services.attempts.dispatch import Dispatcher
from core.services.submission.submit import Accepted, Submissions
from tests.support.api_stand import MP4, SteppedClock, make_ports

LIMITS = Limits(max_upload_bytes=10**6, max_files=5, upload_minutes=60)


class Stand:
    """Submissions on stand-ins of the ports."""

    def __init__(self, **options: Any) -> None:
        self.clock = SteppedClock()
        self.ports = make_ports(self.clock)
        self.written = asyncio.Event()
        self.submissions = Submissions(
            self.ports, Dispatcher(self.ports), LIMITS, self.clock, **options
        )

    async def submit(
        self, key: str | None = None, *, wait: asyncio.Event | None = None
    ) -> Accepted:
        async with self.submissions.begin(owner="local", idempotency_key=key) as submission:
            self.last_id = submission.job_id
            await submission.add_stream("a.mp4", pieces())
            self.written.set()
            if wait is not None:
                await wait.wait()
            return await self.submissions.accept(submission, AnalysisSettings())

    async def blobs(self) -> list[str]:
        return [blob.name async for blob in self.ports.sources.list_blobs("")]

    async def copies(self) -> list[str]:
        return [blob.name async for blob in self.ports.results.list_blobs("")]

    async def jobs(self) -> list[str]:
        return sorted(
            job.id
            for job in await self.ports.jobs.stalled(
                heartbeat_before=self.clock() + timedelta(days=1), limit=100
            )
        )

    def messages(self) -> list[str]:
        return [JobMessage.from_bytes(body).job_id for body in self.ports.queue.bodies()]


async def pieces() -> AsyncIterator[bytes]:
    yield MP4


async def never_sent(body: bytes, **options: Any) -> None:
    raise Unavailable("The queue does not answer.")


@pytest.fixture
def stand() -> Stand:
    return Stand()


async def test_a_job_whose_message_could_not_be_sent_is_taken_back(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand.ports.queue, "send", never_sent)
    with pytest.raises(Unavailable):
        await stand.submit()
    assert (await stand.jobs(), await stand.blobs(), await stand.copies()) == ([], [], [])
    # The message may have been sent all the same: the worker that gets it must not wait for the
    # record.
    (buried,) = (await stand.ports.ledger.tombstones([stand.last_id])).values()
    assert (buried.reason, buried.done_at_utc) == ("refused", stand.clock())


async def test_with_a_key_it_stays_for_the_repetition_which_sends_the_message(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setattr(stand.ports.queue, "send", never_sent)
        with pytest.raises(Unavailable):
            await stand.submit("key")
    (job_id,) = await stand.jobs()
    stand.clock.step(5)
    assert await stand.submissions.retry_cleaning() == 0
    again = await stand.submit("key")
    assert (again.job.id, again.replayed) == (job_id, True)
    assert stand.messages() == [job_id]
    assert await stand.blobs() == [f"jobs/{job_id}/source/000", f"jobs/{job_id}/submitting"], (
        "its first step deletes the marker"
    )


async def test_a_repetition_that_finds_its_message_sent_sends_none(stand: Stand) -> None:
    first, again = await stand.submit("key"), await stand.submit("key")
    assert (again.job.id, again.replayed) == (first.job.id, True)
    assert stand.messages() == [first.job.id]
    stand.clock.step(60)
    await stand.ports.jobs.step_started(first.job.id, attempt=1, step_key="plan", at=stand.clock())
    await stand.submit("key")
    assert stand.messages() == [first.job.id]


async def test_a_job_that_a_repetition_was_answered_with_is_not_taken_back(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: list[Accepted] = []
    send = stand.ports.queue.send

    async def repeated_meanwhile(body: bytes, **options: Any) -> None:
        monkeypatch.setattr(stand.ports.queue, "send", send)
        answered.append(await stand.submit("key"))
        raise Unavailable("The queue did not answer.")

    monkeypatch.setattr(stand.ports.queue, "send", repeated_meanwhile)
    with pytest.raises(Unavailable):
        await stand.submit("key")
    await stand.submissions.retry_cleaning()
    assert await stand.jobs() == [answered[0].job.id]
    assert await stand.blobs() == [
        f"jobs/{answered[0].job.id}/source/000",
        f"jobs/{answered[0].job.id}/submitting",
    ]


@pytest.mark.parametrize("key", [None, "key"])
async def test_a_store_that_recorded_without_saying_so(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    add = stand.ports.jobs.add

    async def recorded_in_silence(job: Job) -> Job:
        await add(job)
        raise Unavailable("No answer came.")

    with monkeypatch.context() as away:
        away.setattr(stand.ports.jobs, "add", recorded_in_silence)
        with pytest.raises(Unavailable):
            await stand.submit(key)
    await stand.submissions.retry_cleaning()
    jobs = await stand.jobs()
    assert len(jobs) == (0 if key is None else 1)
    assert await stand.blobs() == [
        f"jobs/{job_id}/{name}" for job_id in jobs for name in ("source/000", "submitting")
    ]
    stand.clock.step(5)
    job = (await stand.submit(key)).job
    assert key is None or job.id == jobs[0]
    assert stand.messages() == [job.id]


@pytest.mark.parametrize("key", [None, "key"])
async def test_a_store_that_recorded_nothing(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    async def away(job: Job) -> Job:
        stand.ports.jobs.fail_with = Unavailable("The database does not answer.")
        raise stand.ports.jobs.fail_with

    monkeypatch.setattr(stand.ports.jobs, "add", away)
    with pytest.raises(Unavailable):
        await stand.submit(key)
    assert await stand.submissions.retry_cleaning() == 1, "nobody knows yet what was recorded"
    assert len(await stand.blobs()) == 2, "the film and the marker"
    stand.ports.jobs.fail_with = None
    assert await stand.submissions.retry_cleaning() == 0
    assert await stand.blobs() == []


async def test_an_accepted_job_has_its_film_a_copy_of_its_record_and_no_marker(
    stand: Stand,
) -> None:
    job = (await stand.submit("key")).job
    assert (await stand.blobs(), await stand.copies()) == (
        [f"jobs/{job.id}/source/000"],
        [submission_blob(job.id)],
    )
    assert Job.model_validate_json(await stand.ports.results.get(submission_blob(job.id))) == job
    assert await stand.ports.ledger.tombstones([job.id]) == {}


async def test_the_marker_is_there_before_anything_is_committed(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    put_stream = stand.ports.sources.put_stream

    async def watched(name: str, chunks: AsyncIterator[bytes], **options: Any) -> Any:
        async def passed() -> AsyncIterator[bytes]:
            async for chunk in chunks:
                yield chunk
            seen.append(await stand.blobs())

        return await put_stream(name, passed(), **options)

    monkeypatch.setattr(stand.ports.sources, "put_stream", watched)
    job = (await stand.submit()).job
    assert seen == [[f"jobs/{job.id}/submitting"]]


async def test_without_a_marker_nothing_is_committed(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(name: str, data: bytes, **options: Any) -> None:
        raise Unavailable("Storage does not answer.")

    monkeypatch.setattr(stand.ports.sources, "put", away)
    with pytest.raises(Unavailable):
        await stand.submit()
    assert (await stand.blobs(), await stand.jobs(), stand.messages()) == ([], [], [])


async def test_what_is_no_video_writes_no_marker(stand: Stand) -> None:
    written: list[str] = []
    put = stand.ports.sources.put

    async def noted(name: str, data: bytes, **options: Any) -> Any:
        written.append(name)
        return await put(name, data, **options)

    stand.ports.sources.put = noted  # type: ignore[method-assign]

    async def text() -> AsyncIterator[bytes]:
        yield b"a letter " * 1000

    with pytest.raises(UnsupportedMedia):
        async with stand.submissions.begin(owner="local") as submission:
            await submission.add_stream("a.mp4", text())
    assert (written, await stand.blobs()) == ([], [])


async def test_a_refused_submission_s_marker_goes_last(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(job: Job) -> Job:
        raise InvalidInput("No.", code="no")

    async def purge(name: str) -> None:
        raise Unavailable("Storage does not answer.")

    monkeypatch.setattr(stand.ports.jobs, "add", away)
    with monkeypatch.context() as cut:
        cut.setattr(stand.ports.sources, "purge", purge)
        with pytest.raises(InvalidInput):
            await stand.submit()
        assert await stand.blobs() == [
            f"jobs/{stand.last_id}/source/000",
            f"jobs/{stand.last_id}/submitting",
        ]
    assert await stand.submissions.retry_cleaning() == 0
    assert await stand.blobs() == []


async def test_a_slow_submission_leaves_signs_of_life_and_none_behind() -> None:
    stand, finish = Stand(alive_every=timedelta(milliseconds=5)), asyncio.Event()
    running = asyncio.create_task(stand.submit(wait=finish))
    await stand.written.wait()
    marker = submitting_blob(stand.last_id)
    first = (await stand.ports.sources.info(marker)).etag
    while (await stand.ports.sources.info(marker)).etag == first:  # noqa: ASYNC110  storage sets no event
        await asyncio.sleep(0)
    finish.set()
    job = (await running).job
    assert await stand.blobs() == [job.files[0].blob]


async def test_a_submission_that_was_taken_for_dead_is_not_accepted(stand: Stand) -> None:
    finish = asyncio.Event()
    running = asyncio.create_task(stand.submit(wait=finish))
    await stand.written.wait()
    # As if the machine had slept, and the sweeper of another had come by.
    stand.clock.step(3600)
    await stand.ports.sources.delete_prefix("jobs/")
    finish.set()
    with pytest.raises(Unavailable) as refused:
        await running
    assert refused.value.code == "submission_expired"
    assert (await stand.jobs(), stand.messages()) == ([], [])


async def test_a_submission_that_slept_and_lost_nothing_is_accepted(stand: Stand) -> None:
    finish = asyncio.Event()
    running = asyncio.create_task(stand.submit(wait=finish))
    await stand.written.wait()
    stand.clock.step(3600)
    finish.set()
    assert stand.messages() == [] and (await running).job.id in await stand.jobs()
