"""Telling webhooks, on stores in memory and with a clock that the test moves: order, back-off, giving up, the sweeper."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from api.webhook_views import webhook_view
from core.domain.message import JobMessage
from core.domain.webhook import UNREACHED, WebhookEvent, WebhookRules
from core.errors import Unavailable
from core.ports import WebhookAnswer
from core.services.attempts.cancel import cancel
from core.services.housekeeping.delete import delete
from core.services.housekeeping.sweep import Sweeper
from core.services.webhooks import LATE, LOOK_AGAIN, SIGNATURE, Webhooks, owner_secret, signature
from tests.fakes import MemoryWebhookStore
from tests.support.worker_stand import WorkerStand
from worker.deliveries import OWNER_AT_ONCE

URL = "https://example.org/hook?token=theirs"
SECRET = "a secret of the operator's"
REFUSED = WebhookAnswer(503, "refused")


class Desk(WorkerStand):
    """A worker's stand whose jobs may name a webhook."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        rules = WebhookRules(SECRET)
        self.webhooks = Webhooks(
            self.ports, self.dispatcher, rules, self.timer.now, random_fraction=lambda: 0.0
        )
        self.processor = self.worker(webhook_secret=SECRET)

    async def ask(self, *files: bytes, job_id: str = "job1", **settings: Any) -> None:
        job = await self.submit(*files, job_id=job_id, **settings)
        await self.ports.jobs.update(
            job.id, attempt=1, expected=("queued",), at=self.timer.now(), changes={"webhook": URL}
        )

    async def work(self) -> list[str]:
        """Do everything that can be done now; return the steps."""
        steps: list[str] = []
        while (message := await self.deliver(self.processor)) is not None:
            steps.append(message.step)
            await self.processor.deliveries.idle()
        return steps

    async def event(self, job_id: str = "job1", attempt: int = 1) -> WebhookEvent:
        event = await self.ports.webhooks.get(f"{job_id}-{attempt}")
        assert event is not None
        return event

    async def sweep(self) -> int:
        return await Sweeper(self.ports, self.dispatcher, self.timer.now).run(
            visibility=timedelta(seconds=30)
        )

    def messages(self) -> list[str]:
        return [JobMessage.from_bytes(body).step for body in self.ports.queue.bodies()]


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
    """As when a worker is killed between the end of the job and the event, and its message is gone, too."""
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


async def test_slow_receivers_hold_up_no_other_step(desk: Desk) -> None:
    """More receivers hang than deliveries are made at once; a job beside them goes through."""
    never = asyncio.Event()
    send = desk.sender.send

    async def hang(*args: Any, **keywords: Any) -> WebhookAnswer:
        await never.wait()
        return await send(*args, **keywords)

    desk.sender.send = hang  # type: ignore[method-assign]
    for number in range(12):
        await desk.ask(job_id=f"told{number}")
        done = await desk.ports.jobs.update(
            f"told{number}",
            attempt=1,
            expected=("queued",),
            at=desk.timer.now(),
            changes={"state": "completed"},
        )
        await desk.webhooks.announce(done)
    await desk.submit(job_id="quick")
    for _ in range(200):
        if await desk.deliver(desk.processor) is None:
            break
    assert (await desk.job("quick")).state == "completed"
    assert desk.sender.sent == []
    never.set()
    await desk.processor.deliveries.idle()
    desk.timer.advance(5)
    await desk.work()
    assert len(desk.sender.sent) == 12


async def test_receivers_that_hang_delay_no_step_of_another_owner_and_messages_do_not_multiply(
    desk: Desk,
) -> None:
    over = asyncio.Event()
    under_way: list[str] = []

    async def hang(url: str, *_: Any, **__: Any) -> WebhookAnswer:
        under_way.append(url)
        await over.wait()
        return WebhookAnswer(None, "timeout")

    desk.sender.send = hang  # type: ignore[method-assign]
    for number in range(40):
        await desk.ask(job_id=f"a{number}")
        changes = {"state": "completed"}
        done = await desk.ports.jobs.update(
            f"a{number}", attempt=1, expected=("queued",), at=desk.timer.now(), changes=changes
        )
        await desk.webhooks.announce(done)

    async def round_of(seconds: float) -> int:
        """Hang until nothing else can be done, let the tries time out, move on; return how many `notify` messages were received."""
        seen = 0
        while (message := await desk.deliver(desk.processor)) is not None:
            seen += message.step == "notify"
        assert len(under_way) <= OWNER_AT_ONCE
        await desk.webhooks.sweep()
        assert desk.messages().count("notify") <= 40
        over.set()
        await desk.processor.deliveries.idle()
        over.clear()
        under_way.clear()
        desk.timer.advance(seconds)
        return seen

    seen = [await round_of(10) for _ in range(60)]
    assert seen[0] == 40
    assert sum(seen[20:]) / 40 <= 20, "who finds no place waits ever longer"
    await desk.submit(job_id="b")
    rounds = 0
    while (await desk.job("b")).state != "completed":
        assert await desk.deliver(desk.processor) is not None
        rounds += 1
    assert rounds <= 40 + 10
    await round_of(24 * 3600)
    for _ in range(60):
        await round_of(60)
    assert {(await desk.event(f"a{number}")).state for number in range(40)} == {"given_up"}
    assert "notify" not in desk.messages()


async def test_one_owner_has_two_deliveries_at_once_and_another_owner_finds_a_place(
    desk: Desk,
) -> None:
    never = asyncio.Event()
    under_way: list[str] = []

    async def hang(url: str, body: bytes, *_: Any, **__: Any) -> WebhookAnswer:
        under_way.append(json.loads(body)["job_id"])
        await never.wait()
        return WebhookAnswer(200)

    desk.sender.send = hang  # type: ignore[method-assign]
    for number in range(10):
        await desk.ask(job_id=f"a{number}")
        changes = {"state": "completed"}
        done = await desk.ports.jobs.update(
            f"a{number}", attempt=1, expected=("queued",), at=desk.timer.now(), changes=changes
        )
        await desk.webhooks.announce(done.model_copy(update={"owner": "b" if number == 9 else "a"}))
    await desk.drain(desk.processor)
    assert under_way == ["a0", "a1", "a9"]
    never.set()
    await desk.processor.deliveries.idle()


async def test_a_message_that_the_sweeper_has_replaced_is_dropped(desk: Desk) -> None:
    desk.sender.answers = [REFUSED] * 3
    await desk.ask()
    done = await desk.ports.jobs.update(
        "job1", attempt=1, expected=("queued",), at=desk.timer.now(), changes={"state": "completed"}
    )
    await desk.webhooks.announce(done)
    desk.timer.advance(LATE.total_seconds() + 1)
    await desk.webhooks.sweep()
    assert desk.messages().count("notify") == 2
    await desk.work()
    assert (desk.messages(), len(desk.sender.sent)) == (["notify"], 1)


async def test_a_worker_that_is_told_to_stop_gives_deliveries_back(desk: Desk) -> None:
    async def hang(*args: Any, **keywords: Any) -> WebhookAnswer:
        await asyncio.Event().wait()
        raise AssertionError("never set")

    send, desk.sender.send = desk.sender.send, hang  # type: ignore[method-assign]
    await desk.ask()
    done = await desk.ports.jobs.update(
        "job1", attempt=1, expected=("queued",), at=desk.timer.now(), changes={"state": "completed"}
    )
    await desk.webhooks.announce(done)
    await desk.drain(desk.processor)
    await desk.processor.deliveries.close()
    desk.sender.send = send  # type: ignore[method-assign]
    for _ in range(30):
        desk.timer.advance(1)
        await desk.work()
    assert (await desk.event()).state == "delivered"


async def test_deleting_a_job_deletes_its_events(desk: Desk) -> None:
    await desk.ask()
    await desk.work()
    await delete(desk.ports, desk.timer.now, "job1", owner="local")
    assert await desk.ports.webhooks.of_job("job1") == []
