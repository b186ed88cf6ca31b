"""What every storage ledger promises: in memory, on SQLite, on a MongoDB-protocol server over TCP."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.adapters.mongo import MongoConnection, MongoStorageLedger
from core.adapters.sqlite import SqliteDatabase, SqliteStorageLedger
from core.domain.identity import StorageIdentity, Tombstone, new_identity
from core.errors import Unavailable
from core.ports import StorageLedger
from tests.contract.databases import KINDS, opened_stores
from tests.fakes import MemoryStorageLedger

START = datetime(2026, 6, 1, 9, 30, tzinfo=UTC)


@pytest.fixture(params=KINDS)
async def ledgers(request: pytest.FixtureRequest) -> AsyncIterator[list[StorageLedger]]:
    async with opened_stores(
        request, MemoryStorageLedger, SqliteStorageLedger, MongoStorageLedger, count=3
    ) as stores:
        yield stores


@pytest.fixture
def ledger(ledgers: list[StorageLedger]) -> StorageLedger:
    return ledgers[0]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def identity(**fields: object) -> StorageIdentity:
    return StorageIdentity.model_validate(
        {"id": new_identity(), "marked_at_utc": START, "database": "a test", **fields}
    )


def tombstone(job_id: str, seconds: float = 0, reason: str = "deleted") -> Tombstone:
    return Tombstone.model_validate(
        {"job_id": job_id, "reason": reason, "written_at_utc": at(seconds)}
    )


async def test_looking_makes_nothing_and_sees_what_was_claimed(
    request: pytest.FixtureRequest, ledgers: list[StorageLedger]
) -> None:
    given = await ledgers[0].claim(identity())
    assert await ledgers[1].look() == given
    await ledgers[1].close()
    assert await ledgers[1].look() == given, "also where it is not open"


async def test_looking_at_an_sqlite_file_makes_none(tmp_path: Path) -> None:
    path = tmp_path / "data" / "muster #1?.sqlite3"
    ledger = SqliteStorageLedger(SqliteDatabase(path))
    assert await ledger.look() is None
    assert os.listdir(tmp_path) == []
    path.parent.mkdir()
    path.touch()
    assert await ledger.look() is None, "an empty file has no table"
    assert path.read_bytes() == b""
    path.write_bytes(b"no database" * 100)
    with pytest.raises(Unavailable):
        await ledger.look()


async def test_an_identity_is_claimed_once(ledgers: list[StorageLedger]) -> None:
    assert [await ledger.identity() for ledger in ledgers] == [None] * 3
    claims = [identity(former=("a", "b"), names={"raw-videos": "raw-videos-1"}) for _ in ledgers]
    got = await asyncio.gather(
        *(ledger.claim(claim) for ledger, claim in zip(ledgers, claims, strict=True))
    )
    assert len({one.id for one in got}) == 1 and got[0] in claims
    assert [await ledger.identity() for ledger in ledgers] == [got[0]] * 3


async def test_an_identity_is_replaced(ledger: StorageLedger) -> None:
    first, second = identity(), identity(former=("x",))
    await ledger.replace(first)
    assert await ledger.identity() == first
    await ledger.replace(second)
    await ledger.replace(second)
    assert await ledger.identity() == second
    assert await ledger.claim(first) == second


async def test_a_tombstone_is_written_once_and_ends_once(ledger: StorageLedger) -> None:
    assert await ledger.bury(tombstone("a", 1)) == tombstone("a", 1)
    assert await ledger.bury(tombstone("a", 9, "refused")) == tombstone("a", 1)
    assert await ledger.tombstones(["a", "b"]) == {"a": tombstone("a", 1)}
    await ledger.finish(tombstone("a"), at=at(2))
    await ledger.finish(tombstone("a"), at=at(3))
    await ledger.finish(tombstone("b"), at=at(3))
    found = await ledger.tombstones(["a", "b"])
    assert (found["a"].done_at_utc, list(found)) == (at(2), ["a"])


async def test_a_finished_tombstone_can_be_written_anew(ledger: StorageLedger) -> None:
    await ledger.bury(tombstone("a", 1))
    await ledger.finish(tombstone("a"), at=at(2))
    assert await ledger.bury(tombstone("a", 9, "purged")) == tombstone("a", 9, "purged")
    assert await ledger.unfinished(limit=9) == [tombstone("a", 9, "purged")]


async def test_what_has_expired_can_still_be_deleted(ledger: StorageLedger) -> None:
    await ledger.bury(tombstone("a", 1, "expired"))
    assert await ledger.tombstones(["a"]) == {}
    await ledger.bury(tombstone("a", 2))
    assert await ledger.tombstones(["a"]) == {"a": tombstone("a", 2)}
    assert await ledger.unfinished(limit=9) == [tombstone("a", 1, "expired"), tombstone("a", 2)]
    await ledger.finish(tombstone("a", 1, "expired"), at=at(3))
    assert await ledger.unfinished(limit=9) == [tombstone("a", 2)]


async def test_unfinished_tombstones_come_oldest_first(ledger: StorageLedger) -> None:
    for job_id, seconds in (("c", 3), ("a", 1), ("d", 1), ("b", 2)):
        await ledger.bury(tombstone(job_id, seconds))
    assert [found.job_id for found in await ledger.unfinished(limit=3)] == ["a", "d", "b"]
    await ledger.finish(tombstone("d"), at=at(9))
    assert [found.job_id for found in await ledger.unfinished(limit=9)] == ["a", "b", "c"]


async def test_only_what_is_done_is_forgotten(ledger: StorageLedger) -> None:
    for number, job_id in enumerate("abc"):
        await ledger.bury(tombstone(job_id, number))
    await ledger.finish(tombstone("a"), at=at(10))
    await ledger.finish(tombstone("b"), at=at(20))
    assert await ledger.forget(finished_before=at(10)) == 0
    assert await ledger.forget(finished_before=at(10.001)) == 1
    assert sorted(await ledger.tombstones("abc")) == ["b", "c"]


async def test_many_tombstones_are_looked_up_at_once(ledger: StorageLedger) -> None:
    ids = [f"{number:032x}" for number in range(1200)]
    for job_id in ids[::100]:
        await ledger.bury(tombstone(job_id))
    assert sorted(await ledger.tombstones(ids)) == ids[::100]
    assert await ledger.tombstones([]) == {}


async def test_notes_are_kept_by_name(ledger: StorageLedger) -> None:
    assert await ledger.note("retention") is None
    await ledger.write_note("retention", {"a.b": 1, "$c": [None, "ö"]})
    await ledger.write_note("other", {})
    await ledger.write_note("retention", {"a.b": 2, "$c": [None, "ö"]})
    assert await ledger.note("retention") == {"a.b": 2, "$c": [None, "ö"]}
    assert await ledger.note("other") == {}


@pytest.mark.parametrize("ledgers", ["sqlite", "mongo"], indirect=True)
async def test_a_description_has_no_password(ledger: StorageLedger) -> None:
    assert ledger.describe().startswith(("SQLite file /", "MongoDB 127.0.0.1"))


def test_credentials_stay_out_of_a_description() -> None:
    uri = "mongodb://user:p%40ss@one.example:27017,two.example/?tls=true"
    assert (
        MongoStorageLedger(MongoConnection(uri, database="m")).describe()
        == "MongoDB one.example:27017,two.example, database m"
    )
