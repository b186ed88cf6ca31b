"""What every store of keys, tickets and usage promises: in memory, on SQLite, on a MongoDB-protocol
server over TCP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.adapters.mongo import MongoKeyStore
from core.adapters.sqlite import SqliteDatabase, SqliteKeyStore
from core.domain.access import ApiKey, Ticket, digest_of, new_key, new_ticket
from core.domain.quota import Hold
from core.errors import Conflict, InvalidInput, MalformedRequest
from core.ports import KeyStore
from tests.contract.databases import KINDS, opened_stores
from tests.fakes import MemoryKeyStore

START = datetime(2026, 6, 1, 9, 30, tzinfo=UTC)
TODAY = date(2026, 6, 1)


@pytest.fixture(params=KINDS)
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[tuple[KeyStore, KeyStore]]:
    """Two stores on the same data, as two processes have them; in memory they are one."""
    async with opened_stores(request, MemoryKeyStore, SqliteKeyStore, MongoKeyStore, count=2) as (
        first,
        second,
    ):
        yield first, second


@pytest.fixture
def store(stores: tuple[KeyStore, KeyStore]) -> KeyStore:
    return stores[0]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def make(*, seconds: float = 0, **changes: Any) -> ApiKey:
    key_id, secret = new_key()
    fields = {
        "id": key_id,
        "digest": digest_of(secret),
        "owner": "ranch",
        "scopes": ("submit", "read"),
        "created_at_utc": at(seconds),
    }
    return ApiKey(**{**fields, **changes})


def ticket_of(secret: str, *, until: float = 45, **changes: Any) -> Ticket:
    fields = {
        "digest": digest_of(secret),
        "owner": "ranch",
        "scopes": ("read",),
        "job_id": "a" * 32,
        "expires_at_utc": at(until),
    }
    return Ticket(**{**fields, **changes})


async def test_a_key_comes_back_as_it_was(stores: tuple[KeyStore, KeyStore]) -> None:
    writer, reader = stores
    given = make(
        owner="Бизон 1",
        label="gate's uploader",
        scopes=("admin",),
        seconds=0.125,
        expires_at_utc=at(60),
    )
    assert await writer.add(given) == given
    assert await reader.get(given.id) == given
    assert (await reader.list_page(limit=1)).items == [given]
    assert await reader.get("0" * 16) is None


async def test_an_id_is_taken_once(store: KeyStore) -> None:
    given = await store.add(make())
    with pytest.raises(Conflict) as caught:
        await store.add(make(id=given.id, owner="another"))
    assert caught.value.code == "key_exists"
    assert await store.get(given.id) == given


async def test_revoked_is_revoked_for_every_process_and_keeps_its_first_time(
    stores: tuple[KeyStore, KeyStore],
) -> None:
    first, second = stores
    key, other = await first.add(make()), await first.add(make(seconds=1))
    revoked = await second.revoke(key.id, at=at(5))
    assert revoked == key.model_copy(update={"revoked_at_utc": at(5)})
    assert await first.get(key.id) == revoked
    assert await first.revoke(key.id, at=at(9)) == revoked
    assert await first.get(other.id) == other
    assert await first.revoke("0" * 16, at=at(9)) is None


async def test_the_last_use_is_remembered(store: KeyStore) -> None:
    key = await store.add(make())
    await store.used(key.id, at=at(70))
    await store.used("0" * 16, at=at(70))
    assert await store.get(key.id) == key.model_copy(update={"last_used_at_utc": at(70)})


async def test_pages_go_from_new_to_old(store: KeyStore) -> None:
    keys = [
        await store.add(make(seconds=i // 2, owner="ranch" if i % 2 else "park")) for i in range(7)
    ]
    expected = [
        key.id for key in sorted(keys, key=lambda key: (key.created_at_utc, key.id), reverse=True)
    ]
    seen: list[str] = []
    cursor = None
    while True:
        page = await store.list_page(limit=3, cursor=cursor)
        seen += [key.id for key in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == expected
    assert [key.id for key in (await store.list_page(owner="ranch", limit=9)).items] == [
        keys[i].id for i in (5, 3, 1)
    ]
    assert (await store.list_page(owner="nobody", limit=9)).items == []
    with pytest.raises(InvalidInput):
        await store.list_page(limit=0)
    with pytest.raises(MalformedRequest):
        await store.list_page(limit=1, cursor="x")


async def test_of_many_who_take_a_ticket_at_once_one_gets_it(
    stores: tuple[KeyStore, KeyStore],
) -> None:
    secret = new_ticket()
    given = ticket_of(secret, key_id="0" * 16)
    await stores[0].add_ticket(given, at=at(0))
    taken = await asyncio.gather(
        *(stores[i % 2].take_ticket(digest_of(secret), at=at(44.999)) for i in range(50))
    )
    assert [ticket for ticket in taken if ticket is not None] == [given]


async def test_a_ticket_that_expired_or_never_was_is_none(store: KeyStore) -> None:
    old, good = new_ticket(), new_ticket()
    await store.add_ticket(ticket_of(old), at=at(0))
    assert await store.take_ticket(digest_of(old), at=at(45)) is None
    assert await store.take_ticket(digest_of(old), at=at(0)) is None, (
        "it was taken away all the same"
    )
    await store.add_ticket(ticket_of(old), at=at(0))
    await store.add_ticket(ticket_of(good, until=100), at=at(50))
    assert await store.take_ticket(digest_of(old), at=at(0)) is None, (
        "it was dropped when another one came"
    )
    assert await store.take_ticket(digest_of(good), at=at(51)) is not None
    assert await store.take_ticket(digest_of(new_ticket()), at=at(0)) is None


async def test_a_days_quota_is_never_passed_however_many_spend_at_once(
    stores: tuple[KeyStore, KeyStore],
) -> None:
    spending = (
        stores[i % 2].spend("ranch", day=TODAY, size_bytes=30, limit_bytes=100) for i in range(20)
    )
    assert sum(await asyncio.gather(*spending)) == 3
    assert await stores[1].spent("ranch", day=TODAY) == 90
    assert await stores[0].spend("ranch", day=TODAY, size_bytes=10, limit_bytes=100)
    assert not await stores[0].spend("ranch", day=TODAY, size_bytes=1, limit_bytes=100)
    assert await stores[0].spent("ranch", day=TODAY) == 100


async def test_days_and_owners_do_not_mix_and_large_numbers_fit(store: KeyStore) -> None:
    tomorrow = TODAY + timedelta(days=1)
    assert await store.spend("ranch", day=TODAY, size_bytes=2**45, limit_bytes=2**45)
    assert await store.spend("ranch", day=tomorrow, size_bytes=5, limit_bytes=5)
    assert await store.spend("park", day=TODAY, size_bytes=7, limit_bytes=7)
    assert not await store.spend("park", day=TODAY + timedelta(days=2), size_bytes=8, limit_bytes=7)
    days = (("ranch", TODAY), ("ranch", tomorrow), ("park", TODAY), ("park", tomorrow))
    assert [await store.spent(owner, day=day) for owner, day in days] == [2**45, 5, 7, 0]


async def test_what_is_given_back_can_be_spent_again(store: KeyStore) -> None:
    assert await store.spend("ranch", day=TODAY, size_bytes=100, limit_bytes=100)
    await store.give_back("ranch", day=TODAY, size_bytes=60)
    assert await store.spent("ranch", day=TODAY) == 40
    assert await store.spend("ranch", day=TODAY, size_bytes=60, limit_bytes=100)


async def test_usage_of_long_ago_is_dropped(store: KeyStore) -> None:
    await store.spend("ranch", day=TODAY, size_bytes=1, limit_bytes=9)
    await store.spend("park", day=TODAY + timedelta(days=60), size_bytes=1, limit_bytes=9)
    assert await store.spent("ranch", day=TODAY) == 0


async def test_holds_of_long_ago_are_dropped(store: KeyStore) -> None:
    await held(store, hold_of("old", 5, until=10**8))
    later = TODAY + timedelta(days=60)
    assert (
        await store.hold("park", hold_of("new", 1, day=later, until=10**8), at=at(0), limit_bytes=9)
        is None
    )
    assert await store.spent("ranch", day=TODAY) == 0
    assert await store.holds("ranch", since=TODAY, at=at(0)) == []


def hold_of(
    hold_id: str, amount: int, *, until: float = 60, day: date = TODAY, kind: str = "upload"
) -> Hold:
    return Hold(id=hold_id, day=day, amount=amount, until_utc=at(until), kind=kind)


async def held(
    store: KeyStore,
    hold: Hold,
    *,
    seconds: float = 0,
    limit: int | None = 100,
    links: int | None = None,
) -> str | None:
    return await store.hold("ranch", hold, at=at(seconds), limit_bytes=limit, most_links=links)


async def test_what_is_held_counts_like_what_is_used_however_many_ask_at_once(
    stores: tuple[KeyStore, KeyStore],
) -> None:
    asked = (held(stores[i % 2], hold_of(f"{i:032x}", 30)) for i in range(20))
    answers = await asyncio.gather(*asked)
    assert sorted(map(str, answers)) == ["None"] * 3 + ["amount"] * 17
    assert await stores[0].spent("ranch", day=TODAY, at=at(0)) == 90
    assert not await stores[1].spend("ranch", day=TODAY, size_bytes=11, limit_bytes=100, at=at(0))
    assert await stores[1].spend("ranch", day=TODAY, size_bytes=10, limit_bytes=100, at=at(0))
    assert len(await stores[1].holds("ranch", since=TODAY, at=at(0))) == 3


async def test_the_same_hold_twice_is_one_that_grows_and_never_shrinks(
    stores: tuple[KeyStore, KeyStore],
) -> None:
    assert (
        await asyncio.gather(*(held(stores[i % 2], hold_of("same", 60)) for i in range(8)))
        == [None] * 8
    )
    assert await held(stores[0], hold_of("same", 20, until=90)) is None
    assert await held(stores[0], hold_of("same", 101)) == "amount"
    assert await stores[1].holds("ranch", since=TODAY, at=at(0)) == [hold_of("same", 60, until=90)]
    assert await held(stores[1], hold_of("same", 100)) is None
    assert await stores[0].spent("ranch", day=TODAY, at=at(0)) == 100


async def test_a_hold_that_expired_holds_nothing(store: KeyStore) -> None:
    assert await held(store, hold_of("dead", 100, until=60)) is None
    assert await held(store, hold_of("next", 1), seconds=59.9) == "amount"
    assert await store.spent("ranch", day=TODAY, at=at(59.9)) == 100
    assert await store.spent("ranch", day=TODAY, at=at(60)) == 0
    assert await store.holds("ranch", since=TODAY, at=at(60)) == []
    assert await store.spend("ranch", day=TODAY, size_bytes=70, limit_bytes=100, at=at(60))
    assert await store.settle("ranch", "dead", day=TODAY, size_bytes=100, limit_bytes=100) is None
    assert await held(store, hold_of("next", 31, until=200), seconds=61) == "amount"
    assert await held(store, hold_of("next", 30, until=200), seconds=61) is None
    assert await store.spent("ranch", day=TODAY, at=at(61)) == 100


@pytest.mark.parametrize(("used", "spent"), [(0, 0), (40, 40), (60, 60), (100, 100)])
async def test_a_hold_becomes_what_was_really_used(store: KeyStore, used: int, spent: int) -> None:
    await held(store, hold_of("upload", 60))
    assert (
        await store.settle("ranch", "upload", day=TODAY, size_bytes=used, limit_bytes=100) is True
    )
    assert await store.spent("ranch", day=TODAY, at=at(0)) == spent
    assert (
        await store.settle("ranch", "upload", day=TODAY, size_bytes=used, limit_bytes=100) is None
    ), "settled once"
    assert await store.settle("park", "upload", day=TODAY, size_bytes=1, limit_bytes=100) is None
    assert await store.spent("ranch", day=TODAY, at=at(0)) == spent


async def test_more_than_was_held_needs_room_and_leaves_the_hold_without(
    stores: tuple[KeyStore, KeyStore],
) -> None:
    for name in ("a", "b"):
        await held(stores[0], hold_of(name, 40))
    results = [
        stores[i].settle("ranch", name, day=TODAY, size_bytes=60, limit_bytes=100)
        for i, name in enumerate(("a", "b"))
    ]
    assert sorted(map(bool, await asyncio.gather(*results))) == [False, True]
    assert await stores[0].spent("ranch", day=TODAY, at=at(0)) == 100
    assert len(await stores[0].holds("ranch", since=TODAY, at=at(0))) == 1


async def test_links_are_counted_and_free_their_place_when_they_end(
    stores: tuple[KeyStore, KeyStore],
) -> None:
    asked = (
        held(stores[i % 2], hold_of(f"{i:032x}", 0, kind="link"), limit=None, links=5)
        for i in range(12)
    )
    answers = await asyncio.gather(*asked)
    assert sorted(map(str, answers)) == ["None"] * 5 + ["links"] * 7
    assert await held(stores[0], hold_of("upload", 10), links=5) is None, "no link"
    first = next(i for i, answer in enumerate(answers) if answer is None)
    assert (
        await stores[1].settle("ranch", f"{first:032x}", day=TODAY, size_bytes=0, limit_bytes=None)
        is True
    )
    assert (
        await held(stores[0], hold_of("again", 0, kind="open_link", until=30), limit=None, links=5)
        is None
    )
    assert await held(stores[0], hold_of("more", 0, kind="link"), limit=None, links=5) == "links"
    assert (
        await held(stores[1], hold_of("late", 0, kind="link"), seconds=30, limit=None, links=5)
        is None
    )


async def test_holds_belong_to_their_day_and_owner(store: KeyStore) -> None:
    tomorrow = TODAY + timedelta(days=1)
    await held(store, hold_of("today", 100, until=90_000, kind="link"))
    assert await held(store, hold_of("tomorrow", 100, day=tomorrow, until=95_000)) is None
    assert await store.hold("park", hold_of("today", 100), at=at(0), limit_bytes=100) is None
    assert [hold.id for hold in await store.holds("ranch", since=TODAY, at=at(80_000))] == [
        "today",
        "tomorrow",
    ]
    assert [hold.day for hold in await store.holds("ranch", since=tomorrow, at=at(80_000))] == [
        tomorrow
    ]
    assert await store.holds("ranch", since=TODAY, at=at(90_000)) == [
        hold_of("tomorrow", 100, day=tomorrow, until=95_000)
    ]
    assert await store.settle("ranch", "today", day=tomorrow, size_bytes=1, limit_bytes=100) is None


async def test_the_largest_numbers_fit(store: KeyStore) -> None:
    assert await held(store, hold_of("large", 2**62), limit=2**62) is None
    assert await held(store, hold_of("one", 1), limit=2**62) == "amount"
    assert await store.settle("ranch", "large", day=TODAY, size_bytes=0, limit_bytes=2**62) is True
    assert await store.spent("ranch", day=TODAY, at=at(0)) == 0


def files_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_no_secret_is_stored(tmp_path: Path) -> None:
    store = SqliteKeyStore(SqliteDatabase(tmp_path / "muster.sqlite3"))
    await store.open()
    key_id, secret = new_key()
    ticket = new_ticket()
    await store.add(make(id=key_id, digest=digest_of(secret)))
    await store.add_ticket(ticket_of(ticket), at=at(0))
    await store.close()
    written = files_of(tmp_path)
    assert digest_of(secret).encode() in written
    assert secret.encode() not in written and secret[-43:].encode() not in written
    assert ticket.encode() not in written


async def test_opening_again_and_ping_are_harmless(store: KeyStore) -> None:
    key = await store.add(make())
    await asyncio.gather(store.open(), store.open())
    await store.ping()
    assert await store.get(key.id) == key
