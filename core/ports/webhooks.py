"""Events that webhooks are told of, and who tells them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime

from core.domain.webhook import WebhookEvent
from core.ports.base import Port


@dataclass(frozen=True, slots=True)
class WebhookAnswer:
    """How a try to deliver went.

    Attributes:
        status: HTTP status of the answer; None where there was none.
        error: Stable code of what went wrong; None where the receiver took the event (2xx).
        is_final: Another try is of no use.
    """

    status: int | None
    error: str | None = None
    is_final: bool = False


class WebhookStore(Port):
    """Events by id.

    Every change is one atomic write; what comes back shares nothing with the store.
    """

    @abstractmethod
    async def add(self, event: WebhookEvent) -> WebhookEvent:
        """Insert an event, unless there is one of this id; return the one that is there.

        Idempotent.
        """

    @abstractmethod
    async def get(self, event_id: str) -> WebhookEvent | None:
        """Read an event, if there is one."""

    @abstractmethod
    async def replace(self, event: WebhookEvent) -> WebhookEvent | None:
        """Write an event in place of the version that it was read as, its `version`.

        Returns:
            The event with its new version, or None if somebody else wrote it since, or it was
            deleted: nothing was written then.
        """

    @abstractmethod
    async def of_job(self, job_id: str) -> list[WebhookEvent]:
        """Return a job's events, oldest attempt first."""

    @abstractmethod
    async def waiting(self, *, before: datetime, limit: int) -> list[WebhookEvent]:
        """Return open events whose `next_look_at_utc` lies before a time, those first that wait
        longest, then by id.
        """

    @abstractmethod
    async def delete_job(self, job_id: str) -> int:
        """Delete a job's events; return how many. Idempotent."""


class WebhookSender(ABC):
    """Makes one try to deliver one event. Never raises for what a receiver or a network does."""

    @abstractmethod
    async def send(
        self, url: str, body: bytes, headers: dict[str, str], *, timeout_s: float
    ) -> WebhookAnswer:
        """POST a body to an address.

        The name is resolved once; only public addresses are asked; no redirect is followed, no
        proxy used, little of the answer read. Where no public address took a connection, the error
        is one of `core.domain.webhook.UNREACHED`, and the try takes all of
        `timeout_s`: neither time nor outcome tells the submitter which case it was.

        Args:
            url: Checked by `check_webhook_url`.
            body: JSON.
            headers: To be sent with it.
            timeout_s: Longest duration of everything together.
        """
