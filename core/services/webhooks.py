"""Webhooks, which report that a job has completed or failed.

Each event is delivered at least once, each time under the same id. Webhooks never hold up the job.

Three things make this safe when processes die. The attempt's first step records that an event is
expected. The process that ends the attempt stores the event with its body, and sends a `notify`
message. The sweeper sends that message again for every event that is overdue, and makes the event
of an attempt that has ended without one.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from core.addresses import is_public, parse_address
from core.domain.clock import Clock
from core.domain.job import Job
from core.domain.message import JobMessage
from core.domain.webhook import WebhookEvent, WebhookRules, check_webhook_url, event_body, event_id
from core.errors import InvalidInput, MusterError, NotFound
from core.observability.tracing import traceparent
from core.ports import Ports, WebhookAnswer, WebhookSender
from core.services.attempts.dispatch import Dispatcher

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 3600.0
LONGEST_IN_QUEUE_S = 300.0
"""Longest time for which a message waits in the queue, in seconds.

If the next try is due later, no message waits; the sweeper sends one when the try is due.
"""
LOOK_AGAIN = timedelta(minutes=10)
"""How often the sweeper checks whether an attempt with an expected event has ended."""
LATE = timedelta(minutes=1)
"""How long after its due time a try counts as lost.

The time doubles with each message that the sweeper sends for the event, up to an hour.
"""
SIGNATURE = "Muster-Signature"
_LOCAL_DOMAINS = ("localhost", "localdomain", "local", "internal", "home.arpa")
"""Domain endings of names that are not public (RFC 6761, 6762, 8375; ICANN reserved `internal`)."""


def requested_webhook(url: str, rules: WebhookRules) -> str:
    """Return the checked URL of a webhook that a submission names.

    No name is resolved, so the result does not disclose whether a host exists.

    Raises:
        InvalidInput: The text is not a usable URL (code `bad_webhook`), its host is an address or a
            name of a private network (code `webhook_not_public`), or the operator set no secret
            (code `webhooks_off`).
    """
    host = (urlsplit(check_webhook_url(url, rules)).hostname or "").rstrip(".")
    literal = parse_address(host)
    is_local = "." not in host or any(
        f".{host}".endswith(f".{domain}") for domain in _LOCAL_DOMAINS
    )
    if is_local if literal is None else not is_public(literal):
        raise InvalidInput(
            "The webhook's host is an address or name of a private network. Use a public host.",
            code="webhook_not_public",
        )
    return url


def owner_secret(secret: str, owner: str) -> str:
    """Return the secret with which an owner's events are signed.

    Owners have different secrets, so that no owner can forge the events of another.

    Args:
        secret: The operator's secret.
        owner: The owner of the jobs.

    Returns:
        64 hexadecimal digits.
    """
    return hmac.new(secret.encode(), f"muster webhook {owner}".encode(), hashlib.sha256).hexdigest()


def signature(secret: str, body: bytes, *, at: datetime) -> str:
    """Return the value of the signature header.

    The value is `t=<seconds since 1970>,v1=<HMAC-SHA256 of "<t>.<body>", hexadecimal>`.

    Args:
        secret: The owner's secret.
        body: The body as it is sent.
        at: The time of sending; receivers refuse old signatures.
    """
    moment = int(at.timestamp())
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


class Webhooks:
    """The use cases around webhooks.

    Args:
        ports: The ports of the process.
        dispatcher: Sends `notify` messages.
        rules: The operator's rules.
        clock: Returns the current time.
        random_fraction: Returns a random number from 0 to 1, which spreads the tries in time.
    """

    def __init__(
        self,
        ports: Ports,
        dispatcher: Dispatcher,
        rules: WebhookRules,
        clock: Clock,
        *,
        random_fraction: Callable[[], float] = random.random,
    ) -> None:
        self._ports = ports
        self._dispatcher = dispatcher
        self._rules = rules
        self._clock = clock
        self._random = random_fraction

    async def expect(self, job: Job) -> None:
        """Record that an event is expected at the end of this attempt. Idempotent.

        Raises:
            Unavailable: The store does not respond.
        """
        if job.webhook is None:
            return
        now = self._clock()
        event = WebhookEvent(
            id=event_id(job.id, job.attempt),
            job_id=job.id,
            attempt=job.attempt,
            owner=job.owner,
            url=job.webhook,
            created_at_utc=now,
            next_look_at_utc=now + LOOK_AGAIN,
            traceparent=job.traceparent,
        )
        await self._ports.webhooks.add(event)

    async def announce(self, job: Job) -> bool:
        """Make the event of an attempt that has completed or failed, and request its delivery.

        Idempotent. Does nothing for other jobs.

        Args:
            job: The job at its end.

        Returns:
            Whether the event exists now. If the store or the queue does not respond, it does not;
            the sweeper then makes it.
        """
        if job.webhook is None or job.state not in ("completed", "failed"):
            return True
        try:
            await self.expect(job)
            event = await self._ports.webhooks.get(event_id(job.id, job.attempt))
            if event is not None and event.state == "expected":
                now = self._clock()
                changes = {
                    "state": "due",
                    "event": job.state,
                    "body": event_body(job),
                    "ended_at_utc": job.completed_at_utc or now,
                    "not_before_utc": now,
                    "next_look_at_utc": now + LATE,
                    "traceparent": traceparent() or job.traceparent,
                }
                event = await self._ports.webhooks.replace(event.model_copy(update=changes))
                if event is not None:
                    await self._send_message(event)
        except MusterError as error:
            # The job has ended regardless.
            logger.warning(
                "webhook left to the sweeper",
                extra={"action": "webhook_left", "job_id": job.id, "code": error.code},
            )
            return False
        return True

    async def to_deliver(self, message: JobMessage) -> WebhookEvent | None:
        """Return the event that a `notify` message is about.

        None means that the event is settled, or that the sweeper has sent a newer message.

        Raises:
            Unavailable: The store does not respond.
        """
        event = await self._ports.webhooks.get(event_id(message.job_id, message.attempt))
        if (
            event is None
            or not event.is_open
            or event.body is None
            or (message.nudge or 0) < event.nudges
        ):
            return None
        return event

    async def postpone(self, event: WebhookEvent, delay: timedelta) -> None:
        """Record that an event's message waits in the queue.

        The sweeper then sends no second message.

        Raises:
            Unavailable: The store does not respond.
        """
        await self._ports.webhooks.replace(
            event.model_copy(update={"next_look_at_utc": self._clock() + delay + LATE})
        )

    async def deliver(self, message: JobMessage, sender: WebhookSender) -> float | None:
        """Try once to deliver the event that a `notify` message is about.

        Returns:
            Seconds after which the message should be received again. None: the message is no longer
            needed.

        Raises:
            Unavailable: The store does not respond. The event may have been delivered, and will be
                delivered again.
        """
        event = await self.to_deliver(message)
        if event is None:
            return None
        now = self._clock()
        if event.not_before_utc is not None and event.not_before_utc > now:
            return _in_queue((event.not_before_utc - now).total_seconds())
        # The event is marked before the try. A second message about the same event then waits for
        # the outcome of this try. If this worker is killed, the try is repeated.
        over_at = now + self._try_time()
        taken = {"tries": event.tries + 1, "resent": 0, "last_try_at_utc": now}
        taken |= {"not_before_utc": over_at, "next_look_at_utc": over_at + LATE}
        event = await self._ports.webhooks.replace(event.model_copy(update=taken))
        if event is None:
            return self._try_time().total_seconds()
        answer = await self._try(event, sender)
        return await self._note(event, answer)

    async def sweep(self, *, limit: int = 100) -> int:
        """Find undelivered events and ended attempts without an event; return the messages sent.

        Raises:
            Unavailable: The store or the queue does not respond.
        """
        now, sent = self._clock(), 0
        for event in await self._ports.webhooks.waiting(before=now, limit=limit):
            if event.state == "due":
                # The time is moved first, so that only one of several sweepers continues. The delay
                # grows with each message, so that few messages pile up while no worker runs.
                next_look = now + LATE * 2 ** min(event.resent, 6)
                changes = {
                    "next_look_at_utc": next_look,
                    "resent": event.resent + 1,
                    "nudges": event.nudges + 1,
                }
                moved = await self._ports.webhooks.replace(event.model_copy(update=changes))
                if moved is not None:
                    await self._send_message(moved)
                    sent += 1
                    logger.info(
                        "found an undelivered webhook",
                        extra={
                            "action": "webhook_found",
                            "event_id": event.id,
                            "tries": event.tries,
                        },
                    )
            else:
                sent += await self._look(event, now)
        return sent

    def secret_of(self, owner: str) -> str | None:
        """Return the secret with which this owner's events are signed; None if webhooks are off."""
        return None if self._rules.secret is None else owner_secret(self._rules.secret, owner)

    async def _look(self, event: WebhookEvent, now: datetime) -> int:
        """Check whether an expected event has happened; return the number of messages sent."""
        try:
            job = await self._ports.jobs.get(event.job_id)
        except NotFound:
            await self._ports.webhooks.delete_job(event.job_id)
            return 0
        if job.attempt == event.attempt and job.state in ("completed", "failed"):
            logger.info(
                "a job had ended without its webhook event",
                extra={"action": "webhook_found", "event_id": event.id, "tries": 0},
            )
            return int(await self.announce(job))
        over = job.attempt > event.attempt or job.state == "cancelled"
        changes = {
            "state": "given_up",
            "last_error": "nothing_to_tell",
            "settled_at_utc": now,
            "next_look_at_utc": None,
        }
        await self._ports.webhooks.replace(
            event.model_copy(update=changes if over else {"next_look_at_utc": now + LOOK_AGAIN})
        )
        return 0

    async def _try(self, event: WebhookEvent, sender: WebhookSender) -> WebhookAnswer:
        secret = self.secret_of(event.owner)
        if secret is None:
            return WebhookAnswer(None, "webhooks_off")
        body = (event.body or "").encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Muster-Webhook/1",
            "Muster-Event": event.event or "",
            "Muster-Event-Id": event.id,
            SIGNATURE: signature(secret, body, at=self._clock()),
        }
        return await sender.send(event.url, body, headers, timeout_s=self._rules.timeout_s)

    async def _note(self, event: WebhookEvent, answer: WebhookAnswer) -> float | None:
        """Record the result of a try; return the seconds until the next one, if any."""
        now = self._clock()
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(event.tries - 1, 30)) * (
            1 - self._random() / 4
        )
        again_at = now + timedelta(seconds=pause_s)
        changes: dict[str, object] = {"last_status": answer.status, "last_error": answer.error}
        over = {"settled_at_utc": now, "not_before_utc": None, "next_look_at_utc": None}
        if answer.error is None:
            changes |= {"state": "delivered", **over}
        elif (
            answer.is_final
            or again_at >= (event.ended_at_utc or event.created_at_utc) + self._rules.give_up_after
        ):
            changes |= {"state": "given_up", **over}
        else:
            in_queue = _in_queue(pause_s) is not None
            changes |= {
                "not_before_utc": again_at,
                "next_look_at_utc": again_at + LATE if in_queue else again_at,
            }
        noted = await self._ports.webhooks.replace(event.model_copy(update=changes))
        state = changes.get("state", "due")
        extra = {
            "action": f"webhook_{'failed' if state == 'due' else state}",
            "event_id": event.id,
            "job_id": event.job_id,
        }
        host = urlsplit(event.url).hostname
        logger.info(
            "webhook tried",
            extra={
                **extra,
                "host": host,
                "tries": event.tries,
                "status": answer.status,
                "code": answer.error,
            },
        )
        return _in_queue(pause_s) if noted is not None and noted.is_open else None

    async def _send_message(self, event: WebhookEvent) -> None:
        ids = {"job_id": event.job_id, "attempt": event.attempt, "nudge": event.nudges or None}
        await self._dispatcher.send(
            JobMessage.model_validate({**ids, "step": "notify", "traceparent": event.traceparent})
        )

    def _try_time(self) -> timedelta:
        """Return the longest time that a try may take, including its overhead."""
        return timedelta(seconds=self._rules.timeout_s + 5)


def _in_queue(seconds: float) -> float | None:
    return seconds if seconds <= LONGEST_IN_QUEUE_S else None
