"""Messages, leased one at a time."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.ports.base import Port


@dataclass(frozen=True, slots=True)
class Lease:
    """A received message that is ours until `visible_at_utc`.

    `receipt` is the newest pop receipt: the only valid one.
    """

    message_id: str
    receipt: str
    body: bytes
    delivery_count: int
    inserted_at_utc: datetime
    visible_at_utc: datetime


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """How much there is in a queue.

    Attributes:
        messages: Approximate number of messages, leased and delayed ones included.
        oldest_at_utc: When the oldest of those messages was sent that anybody could receive now;
            None where there is none, or where the service does not tell this process.
        poisoned: Approximate number of messages in the poison queue.
    """

    messages: int
    oldest_at_utc: datetime | None = None
    poisoned: int = 0


class JobQueue(Port):
    """At-least-once delivery. Messages never expire. The body goes through unchanged, byte for byte
    (UTF-8 text, at most 48 KiB).

    Attributes:
        name: The queue's. It may be set before `open`, not afterwards.
    """

    name: str

    @abstractmethod
    async def connect(self) -> None:
        """Make ready to read without creating anything; where the queue is missing, reading raises
        `Unavailable` (`storage_not_ready`).

        Idempotent; `open` does the same and creates both queues.
        """

    @abstractmethod
    async def mark(self) -> str | None:
        """Return the identity that the queue carries; None where it carries none, or where the
        service does not tell this process.
        """

    @abstractmethod
    async def set_mark(self, identity: str) -> None:
        """Let the queue carry this identity.

        Idempotent. Nothing happens where the service does not let this process do so.
        """

    @abstractmethod
    async def send(self, body: bytes, *, delay: timedelta = timedelta(0)) -> None:
        """Add a message, visible after `delay`. Not idempotent: a lost response may mean two
        messages.

        Raises:
            InvalidInput: The body is over 48 KiB or not UTF-8 text.
        """

    @abstractmethod
    async def receive(self, *, visibility: timedelta) -> Lease | None:
        """Take one message out of sight for `visibility`, or return None at once."""

    @abstractmethod
    async def renew(self, lease: Lease, *, visibility: timedelta) -> Lease:
        """Stay the owner for `visibility` from now; the returned lease replaces the old one.

        Raises:
            LeaseLost: Somebody else has the message, or it is gone.
        """

    @abstractmethod
    async def complete(self, lease: Lease) -> None:
        """Delete the message. It being gone already is success.

        Raises:
            LeaseLost: Somebody else has the message.
        """

    @abstractmethod
    async def release(self, lease: Lease, *, delay: timedelta = timedelta(0)) -> None:
        """Give the message back, visible after `delay`.

        Raises:
            LeaseLost: Somebody else has the message, or it is gone.
        """

    @abstractmethod
    async def poison(self, lease: Lease, *, reason: str) -> None:
        """Copy the original body and the reason to `<queue>-poison`, then delete. A crash in
        between leaves both: nothing is lost.

        Raises:
            LeaseLost: Somebody else has the message.
        """

    @abstractmethod
    async def depth(self) -> QueueDepth:
        """Return how much there is in the queue. Receives nothing and changes nothing."""
