"""The port of queues: messages, leased one at a time."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.ports.base import Port


@dataclass(frozen=True, slots=True)
class Lease:
    """A received message that this process owns until `visible_at_utc`.

    `receipt` is the newest pop receipt, which is the only valid one.
    """

    message_id: str
    receipt: str
    body: bytes
    delivery_count: int
    inserted_at_utc: datetime
    visible_at_utc: datetime


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The depth of a queue.

    Attributes:
        messages: Approximate number of messages, including leased and delayed ones.
        oldest_at_utc: When the oldest message was sent that can be received now. None if there is
            none, or if the service does not report it to this process.
        poisoned: Approximate number of messages in the poison queue.
    """

    messages: int
    oldest_at_utc: datetime | None = None
    poisoned: int = 0


class JobQueue(Port):
    """A queue with at-least-once delivery, whose messages never expire.

    The body passes through unchanged, byte for byte (UTF-8 text, at most 48 KiB).

    Attributes:
        name: The name of the queue. It may be set before `open`, not afterwards.
    """

    name: str

    @abstractmethod
    async def connect(self) -> None:
        """Prepare to read without creating anything.

        If the queue is missing, reading raises `Unavailable` (`storage_not_ready`). Idempotent;
        `open` does the same and creates both queues.
        """

    @abstractmethod
    async def mark(self) -> str | None:
        """Return the identity that the queue carries.

        None if it carries none, or if the service does not report it to this process.
        """

    @abstractmethod
    async def set_mark(self, identity: str) -> None:
        """Set the identity that the queue carries.

        Idempotent. Nothing happens if the service does not permit this process to set it.
        """

    @abstractmethod
    async def send(self, body: bytes, *, delay: timedelta = timedelta(0)) -> None:
        """Add a message, visible after `delay`.

        Not idempotent: a lost response may mean two messages.

        Raises:
            InvalidInput: The body is over 48 KiB or not UTF-8 text.
        """

    @abstractmethod
    async def receive(self, *, visibility: timedelta) -> Lease | None:
        """Lease one message for `visibility`, or return None at once."""

    @abstractmethod
    async def renew(self, lease: Lease, *, visibility: timedelta) -> Lease:
        """Renew the lease for `visibility` from now; the returned lease replaces the old one.

        Raises:
            LeaseLost: Another worker has the message, or it no longer exists.
        """

    @abstractmethod
    async def complete(self, lease: Lease) -> None:
        """Delete the message. A message that no longer exists is success.

        Raises:
            LeaseLost: Another worker has the message.
        """

    @abstractmethod
    async def release(self, lease: Lease, *, delay: timedelta = timedelta(0)) -> None:
        """Release the message, visible after `delay`.

        Raises:
            LeaseLost: Another worker has the message, or it no longer exists.
        """

    @abstractmethod
    async def poison(self, lease: Lease, *, reason: str) -> None:
        """Copy the original body and the reason to `<queue>-poison`, then delete the message.

        A crash in between leaves both, so that nothing is lost.

        Raises:
            LeaseLost: Another worker has the message.
        """

    @abstractmethod
    async def depth(self) -> QueueDepth:
        """Return the depth of the queue. Receives nothing and changes nothing."""
