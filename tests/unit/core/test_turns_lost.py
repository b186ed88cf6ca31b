"""Turns that were lost, by a killed worker or an outage, are found again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.domain.message import JobMessage
from core.errors import Unavailable
from core.services.attempts.turns import LEAST_WIDTH, Turns
from tests.support.turns import LONG, depth, lane, round_of, submit, sweep, work_off
from tests.support.worker_stand import VISIBILITY_S, WorkerStand
from worker.processor import Processor


class Killed(BaseException):
    """As SIGKILL: nothing of the worker runs after it."""


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[WorkerStand]:
    stand = WorkerStand(tmp_path)
    yield stand
    stand.close()


@pytest.mark.parametrize("what", ["claimed", "sent"])
async def test_a_worker_killed_while_it_hands_out_loses_nothing(
    stand: WorkerStand, what: str
) -> None:
    """Killed after each claim, and after each message that it sends; no sweeper runs."""
    await submit(stand, "job", "ranch", b"120 frames")
    kills = 0
    for _ in range(60):
        if (await stand.job("job")).is_terminal:
            break
        tools = stand.tools(f"worker-{kills}")
        given = stand.ports.jobs.hand_out if what == "claimed" else tools.dispatcher.send

        async def dies(*args: Any, given: Any = given, **keywords: Any) -> Any:
            done = await given(*args, **keywords)
            if done != []:
                raise Killed
            return done

        with pytest.MonkeyPatch.context() as patched:
            target: tuple[object, str] = (
                (stand.ports.jobs, "hand_out") if what == "claimed" else (tools.dispatcher, "send")
            )
            patched.setattr(*target, dies)
            try:
                while await round_of(stand, Processor(tools)):
                    pass
            except Killed:
                kills += 1
        stand.timer.advance(VISIBILITY_S + 1)
        # The next one lives a little longer.
        await round_of(stand, stand.worker("lives"))
    assert kills >= 3
    assert (await stand.job("job")).state == "completed"
    assert set(stand.engine.segments) == set(range(12))


async def test_what_was_handed_out_and_lost_is_found_by_the_sweeper(stand: WorkerStand) -> None:
    worker = stand.worker()
    await submit(stand, "job", "ranch", LONG)
    await lane(stand, worker, stand.ports.queue)
    await stand.ports.jobs.hand_out("job", attempt=1, most=2)
    stand.ports.detect_queue._messages.clear()
    stand.timer.advance(3 * VISIBILITY_S + 1)
    assert await sweep(stand) == 1
    assert depth(stand.ports.detect_queue) == LEAST_WIDTH + 2
    await work_off(stand, worker)
    assert (await stand.job("job")).state == "completed"


async def test_a_parked_job_whose_turn_was_lost_is_found_by_the_sweeper(stand: WorkerStand) -> None:
    worker = stand.worker()
    for number in range(LEAST_WIDTH + 1):
        await submit(stand, f"job{number}", "ranch", LONG)
        await lane(stand, worker, stand.ports.queue)
    for number in range(LEAST_WIDTH):
        await stand.ports.jobs.delete(f"job{number}")
    stand.timer.advance(3 * VISIBILITY_S + 1)
    assert await sweep(stand) == 1
    await work_off(stand, worker, most=200)
    assert (await stand.job(f"job{LEAST_WIDTH}")).state == "completed"


async def test_parked_jobs_do_not_fill_the_queue_at_each_sweep(stand: WorkerStand) -> None:
    worker = stand.worker()
    for number in range(10):
        await submit(stand, f"job{number:02d}", "ranch", LONG)
        await lane(stand, worker, stand.ports.queue)
    sent = 0
    for _ in range(32):
        stand.timer.advance(3 * VISIBILITY_S + 1)
        for number in range(LEAST_WIDTH):
            await stand.ports.jobs.touch(f"job{number:02d}", attempt=1, at=stand.timer.now())
        await sweep(stand)
        while await lane(stand, worker, stand.ports.queue):
            sent += 1
    assert sent <= 6 * 6, "after one, two, four, eight … times the silence"


async def test_a_job_of_an_older_release_has_all_its_messages_already(stand: WorkerStand) -> None:
    worker = stand.worker()
    await submit(stand, "job", "ranch", b"80 frames")
    await lane(stand, worker, stand.ports.queue)
    await stand.ports.jobs.update(
        "job",
        attempt=1,
        expected=("detecting",),
        at=stand.timer.now(),
        changes={"sent_until": None},
    )
    stand.ports.detect_queue._messages.clear()
    assert await Turns(stand.ports, stand.dispatcher, stand.timer.now).go_on("ranch") == 0
    (turn,) = await stand.ports.jobs.turns("ranch")
    assert (turn.handed_out, turn.has_more) == (8, False)
    for index in range(8):
        await stand.dispatcher.send(
            JobMessage(job_id="job", attempt=1, step="detect", segment=index)
        )
    await work_off(stand, worker)
    assert (await stand.job("job")).state == "completed"
    assert sorted(stand.engine.segments) == list(range(8))


async def test_a_store_that_is_away_while_handing_out_gives_the_message_back(
    stand: WorkerStand,
) -> None:
    worker, given = stand.worker(), stand.ports.jobs.turns
    await submit(stand, "job", "ranch", LONG)
    await lane(stand, worker, stand.ports.queue)

    async def away(owner: str) -> Any:
        raise Unavailable("The database does not answer.")

    stand.ports.jobs.turns = away  # type: ignore[method-assign]
    await lane(stand, worker, stand.ports.detect_queue)
    stand.ports.jobs.turns = given  # type: ignore[method-assign]
    assert depth(stand.ports.detect_queue) == LEAST_WIDTH, "its own message is still there"
    stand.timer.advance(VISIBILITY_S + 1)
    for _ in range(60):
        await round_of(stand, worker)
        stand.timer.advance(1)
    assert (await stand.job("job")).state == "completed"
