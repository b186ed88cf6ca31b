"""A worker is killed at every call that ends a job, makes its event or delivers it: the webhook is
told all the same, under one id.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from core.ports import WebhookAnswer
from core.services.housekeeping.sweep import Sweeper
from tests.fakes import MemoryWebhookSender
from tests.support.interference import Calls, Killed
from tests.support.worker_stand import VISIBILITY_S, QuietTimer, WorkerStand
from worker.processor import Processor

SECRET = "a secret of the operator's"
URL = "https://example.org/hook"
RECORDING = b"9 frames"


class WatchedSender(MemoryWebhookSender):
    """Deliveries are calls as well."""

    def __init__(self, calls: Calls) -> None:
        super().__init__()
        self.calls = calls

    async def send(
        self, url: str, body: bytes, headers: dict[str, str], *, timeout_s: float
    ) -> WebhookAnswer:
        plain = super().send
        return await self.calls.make(
            "sender.send", lambda: plain(url, body, headers, timeout_s=timeout_s)
        )


@pytest.fixture
def bases(tmp_path: Path) -> Iterator[Path]:
    return (tmp_path / str(number) for number in itertools.count())


class Life:
    """A job with a webhook, and one worker after the other."""

    def __init__(self, base: Path) -> None:
        self.stand = WorkerStand(base, QuietTimer())
        self.calls = Calls()
        self.sender = WatchedSender(self.calls)
        self.stand.sender = self.sender
        self.dead = False

    def worker(self, name: str) -> Processor:
        return self.stand.worker(
            name, ports=self.calls.watch(self.stand.ports), webhook_secret=SECRET
        )

    def die_at(self, place: int, *, after: bool) -> None:
        async def die(here: int, name: str) -> None:
            if self.dead or here == place:
                self.dead = True
                raise Killed

        setattr(self.calls, "after" if after else "before", die)

    async def submit(self) -> None:
        job = await self.stand.submit(RECORDING, render=False)
        at = self.stand.timer.now()
        await self.stand.ports.jobs.update(
            job.id, attempt=1, expected=("queued",), at=at, changes={"webhook": URL}
        )

    async def live(self, worker: Processor, *, most: int = 80) -> None:
        """Let a worker work until it is killed, or everybody has been told and no message is left."""
        stand = self.stand
        for _ in range(most):
            received = await stand.receive()
            if received is not None:
                queue, lease = received
                try:
                    await worker.process(self.calls.queue(stand.ports, queue), lease)
                except Killed:
                    assert self.dead
                await worker.deliveries.idle()
                if self.dead:
                    return
            elif (
                (await stand.job()).is_terminal
                and await self._is_told()
                and not stand.ports.queue.bodies()
            ):
                return
            else:
                stand.timer.advance(VISIBILITY_S + 1)
                await Sweeper(stand.ports, stand.dispatcher, stand.timer.now).run(
                    visibility=timedelta(seconds=VISIBILITY_S)
                )
        raise AssertionError("nobody is told")

    async def _is_told(self) -> bool:
        return any(
            event.state == "delivered" for event in await self.stand.ports.webhooks.of_job("job1")
        )


async def undisturbed(base: Path) -> list[str]:
    """Return the calls of a job that is told without a disturbance."""
    life = Life(base)
    await life.submit()
    await life.live(life.worker("worker-a"))
    assert len(life.sender.sent) == 1
    life.stand.close()
    return life.calls.names


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_at_every_call_from_the_end_of_the_job_on(
    bases: Iterator[Path], after: bool
) -> None:
    names = await undisturbed(next(bases))
    end = max(place for place, name in enumerate(names) if name == "jobs.update")
    places = [
        place for place, name in enumerate(names) if place >= end or name.startswith("webhooks.")
    ]
    assert {"webhooks.add", "webhooks.replace", "queue.send", "sender.send", "queue.complete"} <= {
        names[place] for place in places
    }
    for place in places:
        life = Life(next(bases))
        await life.submit()
        life.die_at(place, after=after)
        await life.live(life.worker("worker-a"))
        assert life.dead, f"nobody was killed at {names[place]}"
        life.dead, life.calls.before, life.calls.after = False, _nothing, _nothing
        life.stand.timer.advance(VISIBILITY_S + 1)
        await life.live(life.worker("worker-b"))
        job = await life.stand.job()
        assert job.state == "completed", names[place]
        assert {sent.headers["Muster-Event-Id"] for sent in life.sender.sent} == {"job1-1"}, names[
            place
        ]
        assert len({sent.body for sent in life.sender.sent}) == 1
        assert 1 <= len(life.sender.sent) <= 2, names[place]
        life.stand.close()


async def _nothing(place: int, name: str) -> None:
    await asyncio.sleep(0)
