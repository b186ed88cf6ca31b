"""Messages in Azure Queue Storage, or in Azurite, which speaks the same protocol."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from azure.core.exceptions import HttpResponseError
from azure.identity.aio import DefaultAzureCredential
from azure.storage.queue.aio import QueueClient

from core.adapters.azure import connection as azure_connection
from core.adapters.azure.connection import (
    bad_connection_string,
    client_options,
    managed_identity,
    service_url,
)
from core.adapters.azure.errors import creating, error_code, mapped
from core.domain.clock import Clock, utc_now
from core.errors import InvalidInput, Unavailable
from core.ports import JobQueue, Lease, QueueDepth

T = TypeVar("T")

MAX_BODY_BYTES = 48 * 1024
_MAX_MESSAGE_BYTES = 64 * 1024
_READ_TIMEOUT_S = 10
_POISONING = timedelta(seconds=60)
_NEVER = -1
# Released messages are behind younger messages, so the oldest message is not always the first. It
# is among the first.
_PEEKED = 32
# An identity may have the permission to send, but not to create or read. The deployment has then
# created the queue, and the service's refusal proves that it responds.
_MARK = "muster_identity"
_NOT_OUR_ROLE = ("AuthorizationPermissionMismatch", "InsufficientAccountPermissions")


class AzureJobQueue(JobQueue):
    """One queue and its poison queue, `<queue>-poison`.

    Bodies are sent as text without base64. A body that cannot be decoded can then still be received
    and moved away.

    Args:
        queue: The name of the queue, also the attribute `name`; `open` creates both queues.
        connection_string: A connection string with an account key. Ignored if `account_url` is
            given.
        account_url: `https://<account>.blob.core.windows.net` (or `.queue.`): use the process's
            managed identity.
        clock: Returns the time for the end of a lease. The service's clock may differ from ours,
            but durations are the same.
    """

    def __init__(
        self,
        *,
        queue: str,
        connection_string: str,
        account_url: str | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self.name = queue
        self._connection_string = connection_string
        self._account_url = account_url
        self._clock = clock
        self._queue: QueueClient | None = None
        self._poison_queue: QueueClient | None = None
        self._credential: DefaultAzureCredential | None = None

    async def open(self) -> None:
        """Connect, and create both queues.

        Raises:
            InvalidInput: The connection string or account URL is not valid.
            Unavailable: The service does not respond.
        """
        await self.connect()
        for client in (self._client, self._poison_client):
            what = f"the queue '{client.queue_name}'"
            with creating(what, "QueueAlreadyExists", *_NOT_OUR_ROLE):
                await client.create_queue()

    async def connect(self) -> None:
        """Connect without sending anything. Raises `InvalidInput` as `open` does."""
        if self._queue is None or self._poison_queue is None:
            self._queue, self._poison_queue = (
                self._connect(self.name),
                self._connect(f"{self.name}-poison"),
            )

    async def close(self) -> None:
        """Close the connections."""
        clients, self._queue, self._poison_queue = (self._queue, self._poison_queue), None, None
        credential, self._credential = self._credential, None
        for client in clients:
            if client is not None:
                await client.close()
        if credential is not None:
            await credential.close()

    async def mark(self) -> str | None:
        """Return the identity in the queue's metadata."""
        return (await self._metadata()).get(_MARK)

    async def set_mark(self, identity: str) -> None:
        """Write the identity into the queue's metadata; other entries remain."""
        metadata = await self._metadata() | {_MARK: identity}
        with mapped(f"marking the queue '{self.name}'"):
            try:
                await self._client.set_queue_metadata(metadata)
            except HttpResponseError as error:
                if error_code(error) not in _NOT_OUR_ROLE:
                    raise

    async def ping(self) -> None:
        """Read the queue's properties."""
        with mapped(f"checking the queue '{self.name}'"):
            try:
                await self._client.get_queue_properties(read_timeout=azure_connection.PING_S)
            except HttpResponseError as error:
                if error_code(error) not in _NOT_OUR_ROLE:
                    raise

    async def send(self, body: bytes, *, delay: timedelta = timedelta(0)) -> None:
        """Add a message that never expires.

        Raises:
            InvalidInput: The body is over 48 KiB (code `message_too_long`), or not text (code
                `message_not_text`).
            Unavailable: The service does not respond; the message may be in the queue nevertheless.
        """
        text = _checked(body)
        with mapped(f"sending to the queue '{self.name}'"):
            await self._client.send_message(
                text, visibility_timeout=_seconds(delay), time_to_live=_NEVER
            )

    async def receive(self, *, visibility: timedelta) -> Lease | None:
        """Lease one message for `visibility` in whole seconds (rounded up), or return None."""
        seconds = max(1, _seconds(visibility))
        asked_at_utc = self._clock()
        with mapped(f"receiving from the queue '{self.name}'"):
            # Without a span, because a day has many empty polls.
            message = await self._client.receive_message(
                visibility_timeout=seconds, tracing_options={"enabled": False}
            )
        if message is None:
            return None
        return Lease(
            message_id=message.id,
            receipt=_told(message.pop_receipt, "receipt"),
            body=(message.content or "").encode(),
            delivery_count=_told(message.dequeue_count, "number of deliveries"),
            inserted_at_utc=_told(message.inserted_on, "time of insertion").astimezone(UTC),
            visible_at_utc=asked_at_utc + timedelta(seconds=seconds),
        )

    async def renew(self, lease: Lease, *, visibility: timedelta) -> Lease:
        """Renew the lease for `visibility` from now, rounded up to whole seconds."""
        return await self._update(
            lease, _seconds(visibility), f"renewing a lease in the queue '{self.name}'"
        )

    async def complete(self, lease: Lease) -> None:
        """Delete the message.

        Azure responds with 404 both when the message no longer exists and when another worker has
        it. Both count as success there.
        """
        with mapped(f"deleting from the queue '{self.name}'"):
            try:
                await self._client.delete_message(lease.message_id, lease.receipt)
            except HttpResponseError as error:
                if error_code(error) != "MessageNotFound":
                    raise

    async def release(self, lease: Lease, *, delay: timedelta = timedelta(0)) -> None:
        """Release the message."""
        await self._update(lease, _seconds(delay), f"releasing to the queue '{self.name}'")

    async def poison(self, lease: Lease, *, reason: str) -> None:
        """Copy the message to the poison queue, then delete it.

        The copy is the JSON `{body, reason, message_id, delivery_count, poisoned_at_utc}`.

        Raises:
            LeaseLost: Another worker has the message, or it no longer exists; nothing was copied.
            Unavailable: The service does not respond.
        """
        # The renewal proves that this process still has the message, and keeps the lease until the
        # message is deleted.
        owned = await self.renew(lease, visibility=_POISONING)
        for text in poison_texts(lease, reason=reason, at=self._clock()):
            with mapped(f"sending to the queue '{self.name}-poison'"):
                await self._poison_client.send_message(text, time_to_live=_NEVER)
        await self.complete(owned)

    async def depth(self) -> QueueDepth:
        """Return the service's estimates, and the age of the oldest of the first messages."""
        with mapped(f"checking the queue '{self.name}'"):
            properties = await self._client.get_queue_properties()
            poison = await self._poison_client.get_queue_properties()
            try:
                first = await self._client.peek_messages(max_messages=_PEEKED)
            except HttpResponseError as error:
                if error_code(error) not in _NOT_OUR_ROLE:
                    raise
                first = []
        oldest = min(
            (message.inserted_on for message in first if message.inserted_on is not None),
            default=None,
        )
        return QueueDepth(
            messages=properties.approximate_message_count or 0,
            oldest_at_utc=None if oldest is None else oldest.astimezone(UTC),
            poisoned=poison.approximate_message_count or 0,
        )

    async def _metadata(self) -> dict[str, str]:
        with mapped(f"checking the queue '{self.name}'"):
            try:
                properties = await self._client.get_queue_properties()
            except HttpResponseError as error:
                if error_code(error) not in _NOT_OUR_ROLE:
                    raise
                return {}
        return dict(properties.metadata or {})

    async def _update(self, lease: Lease, seconds: int, doing: str) -> Lease:
        asked_at_utc = self._clock()
        with mapped(doing):
            message = await self._client.update_message(
                lease.message_id, lease.receipt, visibility_timeout=seconds
            )
        return Lease(
            message_id=lease.message_id,
            receipt=_told(message.pop_receipt, "receipt"),
            body=lease.body,
            delivery_count=lease.delivery_count,
            inserted_at_utc=lease.inserted_at_utc,
            visible_at_utc=asked_at_utc + timedelta(seconds=seconds),
        )

    def _connect(self, name: str) -> QueueClient:
        options = client_options(read_timeout_s=_READ_TIMEOUT_S)
        if self._account_url is not None:
            url = service_url(self._account_url, "queue")
            self._credential = self._credential or managed_identity()
            return QueueClient(url, name, credential=self._credential, **options)
        try:
            return QueueClient.from_connection_string(self._connection_string, name, **options)
        except ValueError as error:
            raise bad_connection_string(error) from error

    @property
    def _client(self) -> QueueClient:
        if self._queue is None:
            raise RuntimeError("open() was not awaited, or close() was")
        return self._queue

    @property
    def _poison_client(self) -> QueueClient:
        if self._poison_queue is None:
            raise RuntimeError("open() was not awaited, or close() was")
        return self._poison_queue


def _told(value: T | None, what: str) -> T:
    """Return a value that the service must report for every message."""
    if value is None:
        raise Unavailable(f"The queue returned a message without its {what}.")
    return value


def poison_texts(lease: Lease, *, reason: str, at: datetime) -> Iterator[str]:
    """Yield the texts for the poison queue.

    Each text is a JSON object. If one object would exceed 64 KiB, there are several, which contain
    `part` and `parts`.

    Args:
        lease: The message.
        reason: Why the message is abandoned; truncated to 1,000 characters.
        at: The current time.
    """
    body = lease.body.decode(errors="replace")
    reason = reason[:1000]
    facts = {
        "reason": reason,
        "message_id": lease.message_id,
        "delivery_count": lease.delivery_count,
        "poisoned_at_utc": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    whole = _json({"body": body, **facts})
    if len(whole.encode()) <= _MAX_MESSAGE_BYTES:
        yield whole
        return
    # A character takes at most 6 bytes in JSON. The other fields take less than 4 KiB.
    step = (_MAX_MESSAGE_BYTES - 4 * 1024 - 6 * len(reason)) // 6
    parts = [body[start : start + step] for start in range(0, len(body), step)]
    for number, part in enumerate(parts, start=1):
        yield _json({"body": part, **facts, "part": number, "parts": len(parts)})


def _json(value: dict[str, object]) -> str:
    # The wire format is XML, which cannot represent two of the code points that JSON does not
    # escape.
    return (
        json.dumps(value, ensure_ascii=False)
        .replace("\ufffe", "\\ufffe")
        .replace("\uffff", "\\uffff")
    )


def _checked(body: bytes) -> str:
    """Return a body as text that the wire format, XML, carries unchanged."""
    if len(body) > MAX_BODY_BYTES:
        raise InvalidInput(
            f"A message may have at most {MAX_BODY_BYTES} bytes, this one has {len(body)}.",
            code="message_too_long",
        )
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise InvalidInput("A message must be UTF-8 text.", code="message_not_text") from None
    if any((ord(c) < 0x20 and c not in "\t\n") or c in "\ufffe\uffff" for c in text):
        raise InvalidInput(
            "A message must be text without control characters.", code="message_not_text"
        )
    return text


def _seconds(span: timedelta) -> int:
    return max(0, math.ceil(span.total_seconds()))
