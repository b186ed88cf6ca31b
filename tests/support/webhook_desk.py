"""A worker that delivers webhooks, on stores in memory and a clock that the test moves."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from core.domain.message import JobMessage
from core.domain.webhook import WebhookEvent, WebhookRules
from core.ports import WebhookAnswer
from core.services.housekeeping.sweep import Sweeper
from core.services.webhooks import Webhooks
from tests.support.worker_stand import WorkerStand

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
