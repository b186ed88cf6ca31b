"""What goes wrong, and what becomes of the message and the job then."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.domain.blobs import source_blob
from core.domain.message import JobMessage
from core.errors import DetectorError, Unavailable, VideoError
from tests.fakes import IDENTITY
from tests.support.worker_stand import VISIBILITY_S, WorkerStand
from worker.obsolete import MOST_EARLY_DELIVERIES
from worker.settle import back_off_s


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[WorkerStand]:
    stand = WorkerStand(tmp_path)
    yield stand
    stand.close()


def raising(error: Exception, *, times: int = 10**6) -> Callable[..., None]:
    """Return a hook that raises an error so many times."""
    left = [times]

    def hook(*_: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise error

    return hook


async def drain_with_delays(stand: WorkerStand, worker: Any, *, most: int = 60) -> int:
    """Process messages, letting time pass while they are delayed, until the job has ended; return
    how many there were.
    """
    count = 0
    for _ in range(most):
        while await stand.deliver(worker) is not None:
            count += 1
        if (await stand.job()).is_terminal:
            return count
        stand.timer.advance(61)
    raise AssertionError("the job does not end")


@pytest.mark.parametrize(
    ("function", "step", "error"),
    [
        ("probe", "plan", VideoError("This is no video.", code="unreadable_video")),
        (
            "describe_detector",
            "plan",
            DetectorError("There is no checkpoint.", code="checkpoint_missing"),
        ),
        ("load_detector", "detect", DetectorError("It does not fit.", code="detector_unusable")),
        ("detect_segment", "detect", VideoError("It broke off.", code="unreadable_video")),
        ("render", "render", VideoError("It broke off.", code="unreadable_video")),
    ],
)
async def test_a_permanent_error_fails_the_job_at_once(
    stand: WorkerStand, function: str, step: str, error: Any
) -> None:
    stand.engine.hooks[function] = raising(error)
    await stand.submit()
    await stand.drain(stand.worker())
    job = await stand.job()
    assert job.state == "failed"
    assert job.error is not None and (job.error.code, job.error.message, job.error.step) == (
        error.code,
        error.message,
        step,
    )
    assert job.result_revision is None
    assert stand.engine.calls[function] == 1
    assert stand.ports.queue.poisoned == stand.ports.detect_queue.poisoned == []
    assert (
        (await stand.ports.queue.depth()).messages
        == (await stand.ports.detect_queue.depth()).messages
        == 0
    )
    assert await stand.ports.stats.get("job1") is None


@pytest.mark.parametrize("case", ["gone", "changed"])
async def test_a_source_that_is_not_the_submitted_one_fails_the_job_at_once(
    stand: WorkerStand, case: str
) -> None:
    await stand.submit()
    name = source_blob("job1", 0)
    if case == "gone":
        await stand.ports.sources.delete(name)
    else:
        await stand.ports.sources.put(name, b"99 frames")
    assert await stand.deliver(stand.worker()) is not None
    job = await stand.job()
    assert (job.state, job.step_failures, stand.timer.elapsed_s) == ("failed", {}, 0)
    told = (
        "is no longer in storage"
        if case == "gone"
        else "in storage is not the one that was submitted"
    )
    assert job.error is not None and job.error.code == (
        "source_missing" if case == "gone" else "source_changed"
    )
    assert job.error.message == f"The file '0.mp4' {told}. Submit it again."
    assert (await stand.ports.queue.depth()).messages == 0


async def test_a_transient_error_is_tried_again_after_a_while(stand: WorkerStand) -> None:
    stand.engine.hooks["detect_segment"] = raising(RuntimeError("a moment of weakness"), times=2)
    await stand.submit(b"9 frames")
    worker = stand.worker()
    await stand.drain(worker)
    job = await stand.job()
    assert job.state == "detecting" and job.step_failures == {"detect:0": 1}
    assert await stand.receive() is None, "the message is delayed"
    await drain_with_delays(stand, worker)
    job = await stand.job()
    assert job.state == "completed" and job.step_failures == {}
    assert stand.ports.detect_queue.poisoned == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("secret detail"), "internal_error"),
        (MemoryError(), "out_of_memory"),
        (OSError(errno.EIO, "Input/output error"), "internal_error"),
    ],
)
async def test_after_max_failures_the_message_is_poison_and_the_job_failed(
    stand: WorkerStand, error: Exception, code: str
) -> None:
    stand.engine.hooks["detect_segment"] = raising(error)
    await stand.submit(b"9 frames")
    tries = await drain_with_delays(stand, stand.worker(max_failures=3))
    assert tries == 1 + 3
    (poisoned,) = stand.ports.detect_queue.poisoned
    assert JobMessage.from_bytes(poisoned.body) == JobMessage(
        job_id="job1", attempt=1, step="detect", segment=0, identity=IDENTITY.id
    )
    assert "3 times" in poisoned.reason
    job = await stand.job()
    assert job.state == "failed"
    assert job.error is not None and (job.error.code, job.error.step) == (code, "detect")
    assert "secret" not in job.error.message


async def test_after_max_deaths_the_message_is_poison_and_the_job_failed(
    stand: WorkerStand,
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Killed

    stand.engine.hooks["detect_segment"] = die
    await stand.submit(b"9 frames")
    worker = stand.worker(max_deaths=3, max_failures=1)
    await stand.deliver(worker)
    for _ in range(3):
        with pytest.raises(Killed):
            await stand.deliver(worker)
        assert (await stand.job()).state == "detecting"
        stand.timer.advance(VISIBILITY_S + 1)
    await stand.drain(worker)
    job = await stand.job()
    assert job.state == "failed" and job.error is not None and job.error.code == "workers_died"
    assert len(stand.ports.detect_queue.poisoned) == 1
    assert stand.engine.calls["detect_segment"] == 3


@pytest.mark.parametrize("case", ["failures", "deaths"])
async def test_a_crash_between_giving_up_and_the_poison_queue_loses_no_message(
    stand: WorkerStand, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    async def die(*_: Any, **__: Any) -> None:
        raise Killed

    await stand.submit(b"9 frames")
    worker = stand.worker(max_failures=1, max_deaths=1)
    await stand.deliver(worker)
    if case == "deaths":
        stand.engine.hooks["detect_segment"] = raising(Killed())  # type: ignore[arg-type]
        with pytest.raises(Killed):
            await stand.deliver(worker)
        stand.timer.advance(VISIBILITY_S + 1)
    stand.engine.hooks["detect_segment"] = raising(RuntimeError("it fails"))
    queue = stand.ports.detect_queue
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(queue, "poison", die)
        await stand.deliver(worker)
    assert (await stand.job()).state == "failed" and queue.poisoned == []
    stand.timer.advance(VISIBILITY_S + 1)
    await stand.drain(worker)
    (poisoned,) = queue.poisoned
    error = (await stand.job()).error
    assert JobMessage.from_bytes(poisoned.body).step_key == "detect:0"
    assert error is not None and poisoned.reason == error.message
    assert (await queue.depth()).messages == 0


async def test_shutdowns_and_outages_neither_count_nor_wipe_out_what_was_counted(
    stand: WorkerStand,
) -> None:
    await stand.submit(b"9 frames")
    worker = stand.worker(max_failures=3, max_deaths=3)
    await stand.deliver(worker)
    stand.engine.hooks["detect_segment"] = raising(RuntimeError("a moment of weakness"), times=2)
    for _ in range(2):
        await stand.deliver(worker)
        stand.timer.advance(61)
    stand.engine.hooks["detect_segment"] = raising(Unavailable("It did not answer."))
    for _ in range(4):
        received = await stand.receive()
        assert received is not None
        await stand.pass_time(worker.process(*received), most_s=3 * VISIBILITY_S)
        stand.timer.advance(61)
    stand.engine.hooks["detect_segment"] = lambda *_: worker.stop_all()
    for _ in range(4):
        await stand.deliver(worker)
    job = await stand.job()
    assert (job.state, job.step_failures, job.step_starts) == ("detecting", {"detect:0": 2}, {})
    stand.engine.hooks["detect_segment"] = raising(RuntimeError("once more"))
    await stand.deliver(worker)
    assert (await stand.job()).state == "failed"


@pytest.mark.parametrize("away", ["jobs", "results", "sources", "stats"])
async def test_an_outage_is_waited_for_and_is_no_failure(stand: WorkerStand, away: str) -> None:
    """Something is away for 20 s, begun in the middle of each step of the job; the queues answer."""
    worker = stand.worker(max_failures=1)
    await stand.submit(b"19 frames")
    for _ in range(20):
        received = await stand.receive()
        if received is None:
            break
        began = stand.timer.elapsed_s
        _set_away(stand, away, True)
        work = asyncio.ensure_future(worker.process(*received))
        while stand.timer.elapsed_s < began + 20 and not work.done():
            for _ in range(50):
                await asyncio.sleep(0)
            stand.timer.advance(0.5)
        _set_away(stand, away, False)
        await stand.pass_time(work)
    job = await stand.job()
    assert job.state == "completed", job
    assert job.step_failures == {} and sorted(stand.engine.segments) == [0, 1]
    assert await stand.ports.stats.get("job1") is not None


def _set_away(stand: WorkerStand, name: str, away: bool) -> None:
    port: Any = getattr(stand.ports, name)
    if name in ("jobs", "stats"):
        port.fail_with = Unavailable("It did not answer.") if away else None
    else:
        port.away = away


async def test_a_long_outage_gives_the_message_back(stand: WorkerStand) -> None:
    await stand.submit()
    worker = stand.worker(max_failures=1)
    await stand.deliver(worker)
    received = await stand.receive()
    assert received is not None
    stand.ports.results.away = True
    await stand.pass_time(worker.process(*received), most_s=3 * VISIBILITY_S)
    job = await stand.job()
    assert job.state == "detecting" and job.step_failures == {} and job.step_starts == {}
    stand.ports.results.away = False
    stand.timer.advance(VISIBILITY_S)
    await stand.drain(worker)
    assert (await stand.job()).state == "completed"


async def test_a_message_of_an_unknown_attempt_is_waited_for_but_not_for_ever(
    stand: WorkerStand,
) -> None:
    """As after the database was set back to a backup, from before a recount."""
    job = await stand.submit()
    worker = stand.worker()
    await stand.drain(worker)
    early = JobMessage(job_id=job.id, attempt=2, step="assemble", identity=IDENTITY.id)
    await stand.dispatcher.send(early)
    before, deliveries = await stand.job(), 0
    while (await stand.ports.queue.depth()).messages:
        deliveries += await stand.deliver(worker) is not None
        stand.timer.advance(1)
        assert deliveries <= MOST_EARLY_DELIVERIES and stand.timer.elapsed_s < 3600
    (poisoned,) = stand.ports.queue.poisoned
    assert (JobMessage.from_bytes(poisoned.body), deliveries) == (early, MOST_EARLY_DELIVERIES)
    assert "does not know this attempt" in poisoned.reason
    assert stand.timer.elapsed_s > 60, "more and more slowly"
    after = await stand.job()
    assert (after.state, after.result_revision, after.step_failures) == (
        "completed",
        before.result_revision,
        {},
    )


async def test_an_attempt_that_the_store_comes_to_know_later_is_done(stand: WorkerStand) -> None:
    job = await stand.submit()
    worker = stand.worker()
    await stand.drain(worker)
    await stand.dispatcher.send(JobMessage(job_id=job.id, attempt=2, step="assemble"))
    for _ in range(3):
        assert await stand.deliver(worker) is not None
        stand.timer.advance(VISIBILITY_S)
    await stand.ports.jobs.begin_attempt(
        "job1", expected_attempt=1, settings=job.settings, state="assembling", at=stand.timer.now()
    )
    await stand.drain(worker)
    assert ((await stand.job()).state, (await stand.job()).attempt) == ("completed", 2)
    assert stand.ports.queue.poisoned == []


async def test_back_off_doubles_is_capped_and_differs() -> None:
    assert [back_off_s(n, longest_s=60, random_fraction=lambda: 0.0) for n in range(8)] == [
        1,
        2,
        4,
        8,
        16,
        32,
        60,
        60,
    ]
    assert back_off_s(3, longest_s=60, random_fraction=lambda: 1.0) == 4
    assert back_off_s(10_000, longest_s=60, random_fraction=lambda: 0.5) == 45
