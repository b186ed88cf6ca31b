"""A queue in memory, with leases, receipts that change, and a clock that a test sets."""

from __future__ import annotations

import asyncio
import itertools
import math
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.domain.clock import Clock, utc_now
from core.errors import InvalidInput, LeaseLost, Unavailable
from core.ports import JobQueue, Lease, QueueDepth

_MAX_BODY_BYTES = 48 * 1024


@dataclass(frozen=True, slots=True)
class PoisonedMessage:
    """What a poison queue holds of one message."""

    body: bytes
    reason: str
    message_id: str
    delivery_count: int
    poisoned_at_utc: datetime


@dataclass(slots=True)
class _Message:
    message_id: str
    order: int
    body: bytes
    inserted_at_utc: datetime
    visible_at_utc: datetime
    delivery_count: int = 0
    receipt: str = ""


class MemoryJobQueue(JobQueue):
    """A queue in memory.

    As on Azure, an expired receipt stays valid until another consumer receives the message, and
    times are whole seconds.

    Attributes:
        away: Set it to make every call raise `Unavailable`, as when the service does not answer.
        poisoned: What `poison` moved, oldest first.
    """

    def __init__(self, clock: Clock = utc_now, *, name: str = "memory") -> None:
        self.name = name
        self.away = False
        self.poisoned: list[PoisonedMessage] = []
        self._clock = clock
        self._messages: dict[str, _Message] = {}
        self._order = itertools.count()
        self._mark: str | None = None

    def bodies(self) -> list[bytes]:
        """Return the bodies of all messages, leased ones too, in the order in which they become
        visible.
        """
        return [
            m.body
            for m in sorted(self._messages.values(), key=lambda m: (m.visible_at_utc, m.order))
        ]

    def clear(self) -> None:
        """Take all messages away."""
        self._messages.clear()

    async def connect(self) -> None:
        """Nothing to do."""

    async def open(self) -> None:
        """Do nothing: there is nothing to create."""
        await self._answer()

    async def close(self) -> None:
        """Do nothing: there are no connections."""

    async def mark(self) -> str | None:
        """Return what `set_mark` wrote."""
        await self._answer()
        return self._mark

    async def set_mark(self, identity: str) -> None:
        """Keep the identity."""
        await self._answer()
        self._mark = identity

    async def ping(self) -> None:
        """Return unless `away`."""
        await self._answer()

    async def send(self, body: bytes, *, delay: timedelta = timedelta(0)) -> None:
        """Add a message."""
        _check_body(body)
        await self._answer()
        now = self._clock()
        message = _Message(
            str(uuid.uuid4()), next(self._order), bytes(body), now, now + _whole_seconds(delay)
        )
        self._messages[message.message_id] = message

    async def receive(self, *, visibility: timedelta) -> Lease | None:
        """Lease the message that has been visible longest."""
        await self._answer()
        now = self._clock()
        visible = [m for m in self._messages.values() if m.visible_at_utc <= now]
        if not visible:
            return None
        message = min(visible, key=lambda m: (m.visible_at_utc, m.order))
        message.delivery_count += 1
        return self._lease(message, now + max(_whole_seconds(visibility), timedelta(seconds=1)))

    async def renew(self, lease: Lease, *, visibility: timedelta) -> Lease:
        """Extend a lease; the old receipt is void."""
        await self._answer()
        return self._lease(self._owned(lease), self._clock() + _whole_seconds(visibility))

    async def complete(self, lease: Lease) -> None:
        """Delete the message."""
        await self._answer()
        if lease.message_id in self._messages:
            del self._messages[self._owned(lease).message_id]

    async def release(self, lease: Lease, *, delay: timedelta = timedelta(0)) -> None:
        """Give the message back."""
        await self._answer()
        self._lease(self._owned(lease), self._clock() + _whole_seconds(delay))

    async def poison(self, lease: Lease, *, reason: str) -> None:
        """Move the message to `poisoned`."""
        await self._answer()
        message = self._owned(lease)
        self.poisoned.append(
            PoisonedMessage(
                message.body, reason, message.message_id, lease.delivery_count, self._clock()
            )
        )
        del self._messages[message.message_id]

    async def depth(self) -> QueueDepth:
        """Count the messages, leased ones included."""
        await self._answer()
        visible = [
            message.inserted_at_utc
            for message in self._messages.values()
            if message.visible_at_utc <= self._clock()
        ]
        return QueueDepth(
            messages=len(self._messages),
            oldest_at_utc=min(visible, default=None),
            poisoned=len(self.poisoned),
        )

    async def _answer(self) -> None:
        # Gives other tasks their turn, as a request does, so that races show.
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("The queue did not answer. Try again in a few seconds.")

    def _lease(self, message: _Message, visible_at_utc: datetime) -> Lease:
        message.visible_at_utc = visible_at_utc
        message.receipt = uuid.uuid4().hex
        return Lease(
            message_id=message.message_id,
            receipt=message.receipt,
            body=message.body,
            delivery_count=message.delivery_count,
            inserted_at_utc=message.inserted_at_utc,
            visible_at_utc=visible_at_utc,
        )

    def _owned(self, lease: Lease) -> _Message:
        message = self._messages.get(lease.message_id)
        if message is None or message.receipt != lease.receipt:
            raise LeaseLost(
                "Another worker has taken the message, or it no longer exists. Stop, and publish nothing."
            )
        return message


def _whole_seconds(span: timedelta) -> timedelta:
    return timedelta(seconds=max(0, math.ceil(span.total_seconds())))


def _check_body(body: bytes) -> None:
    if len(body) > _MAX_BODY_BYTES:
        raise InvalidInput(
            f"A message may have {_MAX_BODY_BYTES} bytes, this one has {len(body)}.",
            code="message_too_long",
        )
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise InvalidInput("A message must be UTF-8 text.", code="message_not_text") from None
    if any(ord(c) < 0x20 and c not in "\t\n" or c in "\ufffe\uffff" for c in text):
        raise InvalidInput(
            "A message must be text without control characters.", code="message_not_text"
        )
