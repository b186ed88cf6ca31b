"""The views of webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, Field

from core.domain.clock import UtcDatetime
from core.domain.job import Job
from core.domain.webhook import UNREACHED, EventState, WebhookEvent, shown_url

NOT_REACHED = "not_reached"
WEBHOOK_DESCRIPTION = (
    "A public https URL that gets a signed POST when the job has completed or failed. "
    "Refused if the operator has not allowed webhooks."
)


class DeliveryView(BaseModel):
    """The delivery of one event."""

    event_id: str = Field(
        description="Sent with each delivery of the event.",
        examples=["3f1b6c0e8d5f4a7c9a1e2b3c4d5e6f70-1"],
    )
    event: Literal["completed", "failed"] | None = Field(
        description="Null until the attempt has ended."
    )
    attempt: int
    state: EventState = Field(
        description="`given_up`: the tries lasted as long as the operator allows, or the receiver "
        "responded with 410."
    )
    tries: int
    last_try_at_utc: UtcDatetime | None
    last_status: int | None = Field(
        description="HTTP status of the last response; null: no response.", examples=[503]
    )
    last_error: str | None = Field(
        description="The error of the last try: `not_reached` (no public address of that name "
        "accepted a connection), `timeout`, `refused`, `redirect_not_followed`, "
        "`bad_certificate`, `tls_failed`, `broken_answer`.",
        examples=["refused"],
    )
    next_try_at_utc: UtcDatetime | None
    settled_at_utc: UtcDatetime | None = Field(
        description="When the event was delivered, or abandoned."
    )


class WebhookView(BaseModel):
    """The webhook that reports how the job ends."""

    url: str = Field(
        description="Without its query, which may hold a secret.",
        examples=["https://example.org/muster"],
    )
    deliveries: list[DeliveryView] | None = Field(
        description="One event for each attempt that has begun; null in listings."
    )


class WebhookSecret(BaseModel):
    """The secret that signs webhooks."""

    secret: str = Field(
        description="The secret of this owner. Store it only where the receiver needs it."
    )


def webhook_view(job: Job, events: Sequence[WebhookEvent] | None) -> WebhookView | None:
    """Return the view of a job's webhook, with its events if they were read."""
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
        # A submitter must not learn which names a private network has, and what listens there.
        last_error=NOT_REACHED if event.last_error in UNREACHED else event.last_error,
        next_try_at_utc=event.not_before_utc,
        settled_at_utc=event.settled_at_utc,
    )
