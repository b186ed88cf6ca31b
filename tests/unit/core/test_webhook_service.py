"""Telling webhooks, on stores in memory and with a clock that the test moves: order, back-off,
giving up, the sweeper.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.webhook_views import webhook_view
from core.domain.message import JobMessage
from core.domain.webhook import UNREACHED
from core.errors import Unavailable
from core.ports import WebhookAnswer
from core.services.attempts.cancel import cancel
from core.services.housekeeping.delete import delete
from core.services.webhooks import LATE, LOOK_AGAIN, SIGNATURE, owner_secret, signature
from tests.fakes import MemoryWebhookStore
from tests.support.webhook_desk import REFUSED, SECRET, URL, Desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    stand = Desk(tmp_path)
    yield stand
    stand.close()


async def test_a_completed_job_is_told_once_and_signed(desk: Desk) -> None:
    await desk.ask()
    steps = await desk.work()
    assert steps[-1] == "notify"
    (sent,) = desk.sender.sent
    assert sent.url == URL
    told = json.loads(sent.body)
    assert (told["event"], told["event_id"], told["counts"]["cattle"]["unique"]) == (
        "completed",
        "job1-1",
        3,
    )
    assert (sent.headers["Muster-Event"], sent.headers["Muster-Event-Id"]) == (
        "completed",
        "job1-1",
    )
    assert sent.headers[SIGNATURE] == signature(
        owner_secret(SECRET, "local"), sent.body, at=desk.timer.now()
    )
    event = await desk.event()
    assert (event.state, event.tries, event.last_status, event.last_error) == (
        "delivered",
        1,
        200,
        None,
    )
    assert event.settled_at_utc == desk.timer.now()
    assert (event.not_before_utc, event.next_look_at_utc) == (None, None)


async def test_a_failed_job_is_told_with_its_reason(desk: Desk) -> None:
    await desk.ask(b"many frames")
    await desk.work()
    for _ in range(10):
        desk.timer.advance(60)
        await desk.work()
    (sent,) = desk.sender.sent
    job = await desk.job()
    assert job.state == "failed" and job.error is not None
    assert json.loads(sent.body)["error"] == job.error.model_dump()


async def test_a_cancelled_job_and_one_without_a_webhook_are_told_to_nobody(desk: Desk) -> None:
    await desk.submit(job_id="quiet")
    await desk.ask()
    await desk.deliver(desk.processor)
    await desk.deliver(desk.processor)
    await cancel(desk.ports, desk.timer.now, "job1", owner="local")
    await desk.work()
    assert (await desk.event()).state == "expected"
    desk.timer.advance(LOOK_AGAIN.total_seconds() + 1)
    await desk.sweep()
    await desk.work()
    event = await desk.event()
    assert (event.state, event.last_error) == ("given_up", "nothing_to_tell")
    assert desk.sender.sent == []
    assert await desk.ports.webhooks.of_job("quiet") == []


async def test_a_receiver_that_fails_is_asked_again_under_the_same_id_ever_later(
    desk: Desk,
) -> None:
    desk.sender.answers = [REFUSED] * 8
    await desk.ask()
    await desk.work()
    times = [desk.timer.elapsed_s]
    assert (await desk.job()).state == "completed"
    while (await desk.event()).is_open:
        before = len(desk.sender.sent)
        desk.timer.advance(1)
        await desk.work()
        if desk.timer.elapsed_s % 30 == 0:
            await desk.sweep()
        if len(desk.sender.sent) > before:
            times.append(desk.timer.elapsed_s)
    event = await desk.event()
    assert (event.state, event.tries) == ("delivered", 9)
    pauses = [after - before for before, after in zip(times, times[1:], strict=False)]
    assert len(pauses) == 8
    for number, pause in enumerate(pauses):
        earliest = 5.0 * 2**number
        assert earliest * 0.75 <= pause <= earliest * 1.2 + 65, (number, pause)
    assert len({sent.headers["Muster-Event-Id"] for sent in desk.sender.sent}) == 1
    assert len({sent.body for sent in desk.sender.sent}) == 1
    assert len({sent.headers[SIGNATURE] for sent in desk.sender.sent}) == 9, (
        "each try is signed for its own time"
    )


async def test_it_is_given_up_after_the_stated_time_and_the_job_stays_as_it_is(desk: Desk) -> None:
    desk.sender.answers = [REFUSED] * 1000
    await desk.ask()
    await desk.work()
    began = desk.timer.elapsed_s
    while (await desk.event()).is_open:
        desk.timer.advance(60)
        await desk.sweep()
        await desk.work()
    event = await desk.event()
    assert (event.state, event.last_status, event.last_error) == ("given_up", 503, "refused")
    assert 22 * 3600 < desk.timer.elapsed_s - began <= 24 * 3600
    assert 25 < event.tries < 60
    assert (await desk.job()).state == "completed"
    assert desk.messages() == []


async def test_what_can_never_succeed_is_given_up_at_once(desk: Desk) -> None:
    desk.sender.answers = [WebhookAnswer(410, "refused", is_final=True)]
    await desk.ask()
    await desk.work()
    event = await desk.event()
    assert (event.state, event.tries, event.last_status) == ("given_up", 1, 410)


async def test_a_submitter_is_told_the_same_of_every_address_that_was_not_reached(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    told = []
    for number, code in enumerate(UNREACHED):
        desk = Desk(tmp_path / str(number))
        desk.processor.deliveries._webhooks._random = lambda: 0.0
        desk.sender.answers = [WebhookAnswer(None, code)] * 3
        await desk.ask()
        for _ in range(3):
            await desk.work()
            desk.timer.advance(30)
        view = webhook_view(await desk.job(), [await desk.event()])
        desk.close()
        assert view is not None
        told.append(view.model_dump())
        assert any(getattr(record, "code", None) == code for record in caplog.records), (
            "the operator's log tells them apart"
        )
    (delivery,) = told[0]["deliveries"]
    assert (
        delivery["last_error"],
        delivery["last_status"],
        delivery["state"],
        delivery["tries"],
    ) == ("not_reached", None, "due", 3)
    assert told[1:] == [told[0]] * 2


async def test_an_event_whose_message_got_lost_is_found_by_the_sweeper(desk: Desk) -> None:
    await desk.ask()
    job = await desk.job()
    await desk.webhooks.expect(job)
    done = await desk.ports.jobs.update(
        "job1", attempt=1, expected=("queued",), at=desk.timer.now(), changes={"state": "completed"}
    )
    await desk.webhooks.announce(done)
    desk.ports.queue._messages.clear()
    desk.timer.advance(LATE.total_seconds() - 1)
    await desk.sweep()
    assert desk.messages() == []
    desk.timer.advance(2)
    await desk.sweep()
    assert desk.messages() == ["notify"]
    await desk.work()
    assert (await desk.event()).state == "delivered"


async def test_an_attempt_that_ended_without_its_event_is_found_by_the_sweeper(desk: Desk) -> None:
    """As when a worker is killed between the end of the job and the event, and its message is gone,
    too.
    """
    await desk.ask()
    await desk.webhooks.expect(await desk.job())
    await desk.ports.jobs.update(
        "job1", attempt=1, expected=("queued",), at=desk.timer.now(), changes={"state": "failed"}
    )
    desk.ports.queue._messages.clear()
    desk.timer.advance(LOOK_AGAIN.total_seconds() + 1)
    await desk.sweep()
    await desk.work()
    assert [sent.headers["Muster-Event"] for sent in desk.sender.sent] == ["failed"]


async def test_while_no_worker_runs_few_messages_pile_up(desk: Desk) -> None:
    await desk.ask()
    done = await desk.ports.jobs.update(
        "job1", attempt=1, expected=("queued",), at=desk.timer.now(), changes={"state": "completed"}
    )
    await desk.webhooks.announce(done)
    for _ in range(24 * 60):
        desk.timer.advance(60)
        await desk.webhooks.sweep()
    assert len(desk.messages()) < 40
    await desk.work()
    assert len(desk.sender.sent) == 1


async def test_two_messages_about_one_event_make_one_delivery(desk: Desk) -> None:
    await desk.ask()
    done = await desk.ports.jobs.update(
        "job1", attempt=1, expected=("queued",), at=desk.timer.now(), changes={"state": "completed"}
    )
    await desk.webhooks.announce(done)
    await desk.webhooks.announce(done)
    await desk.dispatcher.send(JobMessage(job_id="job1", attempt=1, step="notify"))
    await desk.work()
    assert len(desk.sender.sent) == 1


async def test_a_store_that_is_away_neither_fails_nor_delays_the_job(desk: Desk) -> None:
    store = desk.ports.webhooks
    assert isinstance(store, MemoryWebhookStore)
    await desk.ask()
    desk.engine.hooks["render"] = lambda *_: setattr(store, "fail_with", Unavailable("away"))
    await desk.work()
    assert (await desk.job()).state == "completed"
    store.fail_with = None
    desk.timer.advance(LOOK_AGAIN.total_seconds() + 1)
    await desk.sweep()
    await desk.work()
    assert len(desk.sender.sent) == 1


async def test_deleting_a_job_deletes_its_events(desk: Desk) -> None:
    await desk.ask()
    await desk.work()
    await delete(desk.ports, desk.timer.now, "job1", owner="local")
    assert await desk.ports.webhooks.of_job("job1") == []
