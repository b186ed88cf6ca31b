"""Slow or silent receivers of one owner delay neither steps nor another owner's deliveries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from core.ports import WebhookAnswer
from core.services.webhooks import LATE
from tests.support.webhook_desk import REFUSED, Desk
from worker.deliveries import OWNER_AT_ONCE


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    stand = Desk(tmp_path)
    yield stand
    stand.close()


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


async def test_receivers_that_hang_delay_no_other_owner_and_messages_do_not_multiply(
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
        """Hang until nothing else can be done, let the tries time out, move on; return how many
        `notify` messages were received.
        """
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
