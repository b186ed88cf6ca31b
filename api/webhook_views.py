"""What the API shows of webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, Field

from core.domain.clock import UtcDatetime
from core.domain.job import Job
from core.domain.webhook import UNREACHED, EventState, WebhookEvent, shown_url

NOT_REACHED = "not_reached"
WEBHOOK_DESCRIPTION = (
    "An https address on the public internet that is told, by a signed POST, when the job has completed or failed. "
    "Refused where the operator has not allowed webhooks."
)


class DeliveryView(BaseModel):
    """How one event is, or was, delivered."""

    event_id: str = Field(
        description="Each delivery of the event carries it.",
        examples=["3f1b6c0e8d5f4a7c9a1e2b3c4d5e6f70-1"],
    )
    event: Literal["completed", "failed"] | None = Field(
        description="Null while the attempt has not ended."
    )
    attempt: int
    state: EventState = Field(
        description="`given_up`: it was tried for as long as the operator allows, or the receiver answered 410."
    )
    tries: int
    last_try_at_utc: UtcDatetime | None
    last_status: int | None = Field(
        description="HTTP status of the last answer; null where there was none.", examples=[503]
    )
    last_error: str | None = Field(
        description="What went wrong at the last try: `not_reached` (no public address of that name took a connection), `timeout`, "
        "`refused`, `redirect_not_followed`, `bad_certificate`, `tls_failed`, `broken_answer`.",
        examples=["refused"],
    )
    next_try_at_utc: UtcDatetime | None
    settled_at_utc: UtcDatetime | None = Field(description="When it was delivered or given up.")


class WebhookView(BaseModel):
    """Who is told how the job ends."""

    url: str = Field(
        description="Without its query, which may hold a secret.",
        examples=["https://example.org/muster"],
    )
    deliveries: list[DeliveryView] | None = Field(
        description="One for each attempt that has begun; null in listings."
    )


class WebhookSecret(BaseModel):
    """With what webhooks are signed."""

    secret: str = Field(
        description="Yours alone. Keep it where the receiver finds it, and nowhere else."
    )


def webhook_view(job: Job, events: Sequence[WebhookEvent] | None) -> WebhookView | None:
    """Return a job's webhook with its events, where they were read."""
    if job.webhook is None:
        return None
    return WebhookView(
        url=shown_url(job.webhook),
        deliveries=None if events is None else [_delivery(event) for event in events],
    )


def _delivery(event: WebhookEvent) -> DeliveryView:
    return DeliveryView(
        event_id=event.id,
        event=event.event,
        attempt=event.attempt,
        state=event.state,
        tries=event.tries,
        last_try_at_utc=event.last_try_at_utc,
        last_status=event.last_status,
        # Which names a private network has, and what listens there, is not a submitter's to know.
        last_error=NOT_REACHED if event.last_error in UNREACHED else event.last_error,
        next_try_at_utc=event.not_before_utc,
        settled_at_utc=event.settled_at_utc,
    )
