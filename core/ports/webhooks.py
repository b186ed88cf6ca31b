"""The ports of webhooks: the store of events, and the sender."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime

from core.domain.webhook import WebhookEvent
from core.ports.base import Port


@dataclass(frozen=True, slots=True)
class WebhookAnswer:
    """The result of a try to deliver an event.

    Attributes:
        status: HTTP status of the response; None without a response.
        error: Stable code of the failure; None if the receiver accepted the event (2xx).
        is_final: Whether another try is useless.
    """

    status: int | None
    error: str | None = None
    is_final: bool = False


class WebhookStore(Port):
    """Events by id.

    Every change is one atomic write. Returned objects share no state with the store.
    """

    @abstractmethod
    async def add(self, event: WebhookEvent) -> WebhookEvent:
        """Insert an event unless its id exists; return the stored one.

        Idempotent.
        """

    @abstractmethod
    async def get(self, event_id: str) -> WebhookEvent | None:
        """Read an event; None if it does not exist."""

    @abstractmethod
    async def replace(self, event: WebhookEvent) -> WebhookEvent | None:
        """Replace the version of an event that was read, `version`, by this one.

        Returns:
            The event with its new version. None if another process changed or deleted the event
            since it was read; nothing was written then.
        """

    @abstractmethod
    async def of_job(self, job_id: str) -> list[WebhookEvent]:
        """Return a job's events, oldest attempt first."""

    @abstractmethod
    async def waiting(self, *, before: datetime, limit: int) -> list[WebhookEvent]:
        """Return open events whose `next_look_at_utc` is before a time.

        Those that have waited longest come first, then by id.
        """

    @abstractmethod
    async def delete_job(self, job_id: str) -> int:
        """Delete a job's events; return their number. Idempotent."""


class WebhookSender(ABC):
    """Tries once to deliver one event. Errors of receivers and networks raise nothing."""

    @abstractmethod
    async def send(
        self, url: str, body: bytes, headers: dict[str, str], *, timeout_s: float
    ) -> WebhookAnswer:
        """POST a body to a URL.

        The name is resolved once. Only public addresses are contacted. Redirects are not followed,
        proxies not used, and little of the response is read. If no public address accepts a
        connection, the error is one of `core.domain.webhook.UNREACHED`, and the try takes all of
        `timeout_s`. Neither the duration nor the result then discloses to the submitter which case
        it was.

        Args:
            url: Checked by `check_webhook_url`.
            body: JSON.
            headers: Headers to send.
            timeout_s: Longest total duration.
        """
