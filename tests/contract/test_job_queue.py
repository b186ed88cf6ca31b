"""What every queue promises: the stand-in in memory and the Azure adapter on a real Azurite."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.adapters.azure.queue import AzureJobQueue, poison_texts
from core.errors import InvalidInput, LeaseLost, Unavailable
from core.ports import JobQueue, Lease, QueueDepth
from tests.fakes import MemoryJobQueue

LONG = timedelta(seconds=60)
SECOND = timedelta(seconds=1)


@dataclass
class Harness:
    """A queue, how to let time pass, and how to look into its poison queue."""

    queue: JobQueue
    pass_time: Callable[[float], Awaitable[None]]
    poisoned: Callable[[], Awaitable[list[dict[str, Any]]]]


def memory_harness() -> Harness:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    queue = MemoryJobQueue(lambda: now)

    async def pass_time(seconds: float) -> None:
        nonlocal now
        now += timedelta(seconds=seconds)

    async def poisoned() -> list[dict[str, Any]]:
        return [
            {
                "body": m.body.decode(),
                "reason": m.reason,
                "message_id": m.message_id,
                "delivery_count": m.delivery_count,
            }
            for m in queue.poisoned
        ]

    return Harness(queue, pass_time, poisoned)


def azure_harness(queue: AzureJobQueue) -> Harness:
    async def pass_time(seconds: float) -> None:
        await asyncio.sleep(seconds + 0.2)

    async def poisoned() -> list[dict[str, Any]]:
        found = [
            json.loads(m.content) for m in await queue._poison_client.peek_messages(max_messages=32)
        ]
        for message in found:
            assert (
                abs(datetime.fromisoformat(message.pop("poisoned_at_utc")) - datetime.now(UTC))
                < LONG
            )
        return found

    return Harness(queue, pass_time, poisoned)


@pytest.fixture
async def azure(azurite, unique_name: Callable[[str], str]) -> AsyncIterator[AzureJobQueue]:
    queue = AzureJobQueue(queue=unique_name("queue"), connection_string=azurite.connection_string)
    await queue.open()
    yield queue
    await queue._client.delete_queue()
    await queue._poison_client.delete_queue()
    await queue.close()


@pytest.fixture(params=["memory", "azurite"])
def harness(request: pytest.FixtureRequest) -> Harness:
    return (
        memory_harness()
        if request.param == "memory"
        else azure_harness(request.getfixturevalue("azure"))
    )


async def receive(queue: JobQueue, visibility: timedelta = LONG) -> Lease:
    lease = await queue.receive(visibility=visibility)
    assert lease is not None
    return lease


BODIES = [
    b'{"job_id": "1"}',
    b"",
    b"not json {",
    b"  spaces, a tab\t, a line\nbreak  ",
    "<&>\"']]> &#1; é 🐄".encode(),
    b"eyJub3QiOiAiYmFzZTY0In0",
    b'"' * 48 * 1024,
    "é".encode() * 24 * 1024,
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
async def test_body_goes_through_byte_for_byte(harness: Harness, body: bytes) -> None:
    await harness.queue.send(body)
    lease = await receive(harness.queue)
    assert lease.body == body
    lease = await harness.queue.renew(lease, visibility=LONG)
    await harness.queue.release(lease)
    again = await receive(harness.queue)
    assert (again.body, again.message_id, again.delivery_count) == (body, lease.message_id, 2)
    await harness.queue.poison(again, reason="no use")
    held = await harness.poisoned()
    assert "".join(part["body"] for part in held) == body.decode()
    assert all(part["reason"] == "no use" for part in held)


@pytest.mark.parametrize(
    "body", [b"x" * (48 * 1024 + 1), b"\xff\xfe", b"\x00", b"\x1b[0m", b"a\r\n", "\uffff".encode()]
)
async def test_bodies_that_are_refused(harness: Harness, body: bytes) -> None:
    with pytest.raises(InvalidInput):
        await harness.queue.send(body)
    assert await harness.queue.receive(visibility=LONG) is None


async def test_lease_fields(harness: Harness) -> None:
    assert await harness.queue.receive(visibility=LONG) is None
    await harness.queue.send(b"1")
    lease = await receive(harness.queue)
    assert lease.delivery_count == 1 and lease.message_id and lease.receipt
    assert (
        timedelta(seconds=50) < lease.visible_at_utc - lease.inserted_at_utc < timedelta(seconds=70)
    )
    assert lease.visible_at_utc.tzinfo is UTC and lease.inserted_at_utc.tzinfo is UTC
    assert await harness.queue.receive(visibility=LONG) is None
    await harness.queue.complete(lease)
    assert (await harness.queue.depth()).messages == 0


async def test_visible_again_after_the_timeout(harness: Harness) -> None:
    await harness.queue.send(b"1")
    first = await receive(harness.queue, SECOND)
    await harness.pass_time(1)
    # Nobody took it meanwhile: it is still ours, and can be kept.
    first = await harness.queue.renew(first, visibility=SECOND)
    assert await harness.queue.receive(visibility=LONG) is None
    await harness.pass_time(1)
    second = await receive(harness.queue)
    assert (second.message_id, second.delivery_count) == (first.message_id, 2)
    for call in (
        harness.queue.renew(first, visibility=LONG),
        harness.queue.complete(first),
        harness.queue.release(first),
        harness.queue.poison(first, reason="late"),
    ):
        with pytest.raises(LeaseLost):
            await call
    assert await harness.poisoned() == []
    await harness.queue.complete(second)


async def test_renewing_makes_the_old_receipt_void(harness: Harness) -> None:
    await harness.queue.send(b"1")
    old = await receive(harness.queue, SECOND)
    new = await harness.queue.renew(old, visibility=LONG)
    assert new.receipt != old.receipt
    assert dataclasses.replace(new, receipt=old.receipt, visible_at_utc=old.visible_at_utc) == old
    assert new.visible_at_utc > old.visible_at_utc
    for call in (
        harness.queue.renew(old, visibility=LONG),
        harness.queue.complete(old),
        harness.queue.release(old),
    ):
        with pytest.raises(LeaseLost):
            await call
    assert (await harness.queue.depth()).messages == 1
    await harness.queue.complete(new)
    await harness.queue.complete(new)
    for call in (
        harness.queue.renew(new, visibility=LONG),
        harness.queue.release(new),
        harness.queue.poison(new, reason="gone"),
    ):
        with pytest.raises(LeaseLost):
            await call
    assert await harness.poisoned() == []


async def test_delays(harness: Harness) -> None:
    await harness.queue.send(b"later", delay=timedelta(milliseconds=700))
    await harness.queue.send(b"now")
    lease = await receive(harness.queue)
    assert lease.body == b"now"
    await harness.queue.release(lease, delay=LONG)
    assert await harness.queue.receive(visibility=LONG) is None
    await harness.pass_time(1)
    assert (await receive(harness.queue)).body == b"later"
    assert await harness.queue.receive(visibility=LONG) is None
    with pytest.raises(LeaseLost):
        await harness.queue.complete(lease)


async def test_poison(harness: Harness) -> None:
    await harness.queue.send(b'{"half":')
    lease = await receive(harness.queue)
    await harness.queue.poison(lease, reason="not a message: 'half'")
    assert await harness.poisoned() == [
        {
            "body": '{"half":',
            "reason": "not a message: 'half'",
            "message_id": lease.message_id,
            "delivery_count": 1,
        }
    ]
    assert (await harness.queue.depth()).messages == 0
    with pytest.raises(LeaseLost):
        await harness.queue.poison(lease, reason="again")
    assert len(await harness.poisoned()) == 1


async def test_depth_counts_leased_messages(harness: Harness) -> None:
    for i in range(3):
        await harness.queue.send(str(i).encode())
    await receive(harness.queue)
    assert (await harness.queue.depth()).messages == 3


async def test_depth_tells_the_age_of_what_can_be_received_and_how_much_is_poisoned(
    harness: Harness,
) -> None:
    assert await harness.queue.depth() == QueueDepth(messages=0, oldest_at_utc=None, poisoned=0)
    await harness.queue.send(b"first")
    await harness.pass_time(1.5)
    await harness.queue.send(b"second")
    await harness.queue.send(b"later", delay=LONG)
    both = await harness.queue.depth()
    lease = await receive(harness.queue)
    assert lease.body == b"first" and both.oldest_at_utc == lease.inserted_at_utc
    second = await harness.queue.depth()
    assert second.oldest_at_utc is not None and second.oldest_at_utc > lease.inserted_at_utc, (
        "what is leased does not wait"
    )
    await harness.queue.release(lease)
    assert (await harness.queue.depth()).oldest_at_utc == lease.inserted_at_utc, (
        "what is released waits since it was sent"
    )
    for _ in range(2):
        await harness.queue.poison(await receive(harness.queue), reason="no good")
    assert await harness.queue.depth() == QueueDepth(messages=1, oldest_at_utc=None, poisoned=2)


async def test_receivers_at_once_never_share_a_message(harness: Harness) -> None:
    sent = [f"m{i}".encode() for i in range(40)]
    await asyncio.gather(*(harness.queue.send(body) for body in sent))
    taken: list[bytes] = []

    async def receiver() -> None:
        while (lease := await harness.queue.receive(visibility=LONG)) is not None:
            taken.append(lease.body)
            lease = await harness.queue.renew(lease, visibility=LONG)
            await harness.queue.complete(lease)

    await asyncio.gather(*(receiver() for _ in range(6)))
    assert sorted(taken) == sorted(sent)
    assert (await harness.queue.depth()).messages == 0


async def test_open_and_close_twice(harness: Harness) -> None:
    await harness.queue.send(b"kept")
    await harness.queue.open()
    await harness.queue.ping()
    await harness.queue.close()
    await harness.queue.close()
    await harness.queue.open()
    assert (await receive(harness.queue)).body == b"kept"


# ------------------------------------------------------------ what only the service itself can show


async def test_messages_never_expire(azure: AzureJobQueue) -> None:
    await azure.send(b"1")
    lease = await receive(azure)
    await azure.poison(lease, reason="x")
    (held,) = await azure._poison_client.peek_messages()
    await azure.send(b"2")
    (sent,) = await azure._client.peek_messages()
    assert held.expires_on is not None and sent.expires_on is not None
    assert held.expires_on.year == sent.expires_on.year == 9999


async def test_foreign_text_is_delivered_undecoded(azure: AzureJobQueue) -> None:
    for text in ("%%% not base64 {", "a\r\nb", "x" * 65_536):
        await azure._client.send_message(text)
        lease = await receive(azure)
        assert lease.body == text.encode()
        await azure.poison(lease, reason="cannot be read")
    held = [
        json.loads(m.content)["body"]
        for m in await azure._poison_client.peek_messages(max_messages=32)
    ]
    assert "".join(held) == "%%% not base64 {" + "a\r\nb" + "x" * 65_536


async def test_two_adapters_share_one_queue(azure: AzureJobQueue, azurite) -> None:
    other = AzureJobQueue(queue=azure.name, connection_string=azurite.connection_string)
    await other.open()
    await azure.send(b"1")
    lease = await receive(other, SECOND)
    assert await azure.receive(visibility=LONG) is None
    await asyncio.sleep(1.2)
    mine = await receive(azure)
    with pytest.raises(LeaseLost):
        await other.complete(lease)
    await azure.complete(mine)
    await other.close()


async def test_service_away_is_said_within_seconds() -> None:
    account = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=AAAA;QueueEndpoint=http://127.0.0.1:9/a;"
    queue = AzureJobQueue(queue="away", connection_string=account)
    began = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable):
        await queue.open()
    assert asyncio.get_running_loop().time() - began < 5
    await queue.close()


async def test_unreadable_connection_string() -> None:
    with pytest.raises(InvalidInput) as caught:
        await AzureJobQueue(queue="x", connection_string="nonsense").open()
    assert caught.value.code == "bad_storage_connection"


def test_poison_texts_fit_and_lose_nothing() -> None:
    at = datetime(2026, 6, 1, 9, 30, tzinfo=UTC)
    for body in ("{}", "\\" * 48 * 1024, "\u0001" * 65_536, "🐄" * 12_000, "é\uffff" * 10_000):
        lease = Lease("id", "receipt", body.encode(), 7, at, at)
        texts = list(poison_texts(lease, reason="ü" * 2000, at=at))
        assert all(len(text.encode()) <= 64 * 1024 for text in texts)
        parts = [json.loads(text) for text in texts]
        assert "".join(part["body"] for part in parts) == body
        assert {part["poisoned_at_utc"] for part in parts} == {"2026-06-01T09:30:00.000Z"}
        assert {part["delivery_count"] for part in parts} == {7}
        if len(parts) > 1:
            assert [(part["part"], part["parts"]) for part in parts] == [
                (i + 1, len(parts)) for i in range(len(parts))
            ]


async def test_empty_polls_leave_no_spans(
    azure: AzureJobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    async def nothing(self, **options: object) -> None:
        asked.append(options)

    monkeypatch.setattr(type(azure._client), "receive_message", nothing)
    assert await azure.receive(visibility=timedelta(milliseconds=100)) is None
    assert asked == [{"visibility_timeout": 1, "tracing_options": {"enabled": False}}]


async def test_a_queue_carries_one_identity(harness: Harness) -> None:
    assert await harness.queue.mark() is None
    for identity in ("a" * 32, "b" * 32, "b" * 32):
        await harness.queue.set_mark(identity)
        assert await harness.queue.mark() == identity
    await harness.queue.open()
    await harness.queue.send(b"{}")
    assert (await harness.queue.mark(), (await harness.queue.depth()).messages) == ("b" * 32, 1)


async def test_marking_a_queue_leaves_what_others_wrote_there(azure: AzureJobQueue) -> None:
    await azure._client.set_queue_metadata({"team": "north"})
    await azure.set_mark("a" * 32)
    assert (await azure._client.get_queue_properties()).metadata == {
        "team": "north",
        "muster_identity": "a" * 32,
    }
