"""What every store of named calibrations promises: in memory, on SQLite, on a MongoDB-protocol
server over TCP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.adapters.mongo import MongoCalibrationStore
from core.adapters.sqlite import SqliteCalibrationStore, SqliteDatabase
from core.domain.analysis import CalibrationSettings
from core.domain.calibration import StoredCalibration
from core.errors import Conflict, InvalidInput, MalformedRequest, NotFound
from core.ports import CalibrationStore
from tests.contract.databases import KINDS, opened_stores
from tests.fakes import MemoryCalibrationStore

START = datetime(2026, 6, 1, 9, 30, tzinfo=UTC)
IMAGE = ((0.0, 0.0), (640.0, 0.0), (640.0, 480.0), (0.25, 480.0))
GROUND = ((0.0, 48.0), (64.0, 48.0), (64.0, 0.0), (0.0, 1e-17))


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[CalibrationStore]:
    async with opened_stores(
        request, MemoryCalibrationStore, SqliteCalibrationStore, MongoCalibrationStore
    ) as (store,):
        yield store


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def make(name: str = "north-camera", *, seconds: float = 0, **changes: Any) -> StoredCalibration:
    points = CalibrationSettings(image_points=IMAGE, ground_points=GROUND, unit="wgs84", name=name)
    return StoredCalibration(
        **{
            "name": name,
            "points": points,
            "created_at_utc": at(seconds),
            "updated_at_utc": at(seconds),
            **changes,
        }
    )


async def names(store: CalibrationStore, **conditions: Any) -> list[str]:
    return [
        item.name
        for item in (await store.list_page(**{"owner": "local", "limit": 200, **conditions})).items
    ]


async def test_a_calibration_comes_back_as_it_was(store: CalibrationStore) -> None:
    given = make("Бизон 1. (north)", camera="north gate", seconds=0.125)
    assert await store.add(given) == given
    assert await store.get("Бизон 1. (north)", owner="local") == given
    assert (await store.list_page(owner="local", limit=1)).items == [given]


async def test_ten_thousand_points_fit(store: CalibrationStore) -> None:
    many = tuple((i + 1 / 3, i / 7) for i in range(10_000))
    given = make(points=CalibrationSettings(image_points=many, ground_points=many))
    await store.add(given)
    assert (await store.get("north-camera", owner="local")).points == given.points


async def test_an_empty_store(store: CalibrationStore) -> None:
    assert await names(store) == []
    assert not await store.delete("north-camera", owner="local")
    with pytest.raises(NotFound) as caught:
        await store.get("north-camera", owner="local")
    assert caught.value.code == "calibration_not_found"


async def test_a_name_is_taken_once_for_each_owner(store: CalibrationStore) -> None:
    await store.add(make())
    with pytest.raises(Conflict) as caught:
        await store.add(make(camera="another", seconds=5))
    assert caught.value.code == "calibration_exists"
    await store.add(make(owner="ranch", camera="theirs"))
    assert (await store.get("north-camera", owner="local")).camera is None
    assert (await store.get("north-camera", owner="ranch")).camera == "theirs"


async def test_of_many_added_at_once_one_is_kept(store: CalibrationStore) -> None:
    done = await asyncio.gather(
        *(store.add(make(camera=f"camera {i}")) for i in range(8)), return_exceptions=True
    )
    kept = [item for item in done if isinstance(item, StoredCalibration)]
    assert len(kept) == 1
    assert sum(isinstance(item, Conflict) for item in done) == 7
    assert await store.get("north-camera", owner="local") == kept[0]


async def test_put_inserts_or_replaces_and_keeps_when_it_was_made(store: CalibrationStore) -> None:
    first = make(camera="old")
    assert await store.put(first) == first
    other = CalibrationSettings(image_points=IMAGE, ground_points=GROUND[::-1])
    second = make(points=other, seconds=60)
    expected = second.model_copy(update={"created_at_utc": at(0)})
    assert await store.put(second) == expected
    assert await store.get("north-camera", owner="local") == expected
    assert await names(store) == ["north-camera"]
    assert await names(store, camera="old") == []


async def test_many_put_at_once_leave_one(store: CalibrationStore) -> None:
    await asyncio.gather(*(store.put(make(camera=f"camera {i}", seconds=i)) for i in range(8)))
    (kept,) = (await store.list_page(owner="local", limit=10)).items
    assert kept.camera in {f"camera {i}" for i in range(8)}


async def test_pages_go_from_new_to_old_and_show_one_owners(store: CalibrationStore) -> None:
    for i in range(7):
        await store.add(make(f"c{i}", seconds=i // 2, camera="gate" if i % 2 else None))
    await store.add(make("theirs", owner="ranch", camera="gate"))
    everything = await names(store)
    assert [int(name[1:]) // 2 for name in everything] == [3, 2, 2, 1, 1, 0, 0]
    seen: list[str] = []
    cursor = None
    while True:
        page = await store.list_page(owner="local", limit=3, cursor=cursor)
        seen += [item.name for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
        # What is made or replaced meanwhile moves nothing.
        await store.put(make("c5", seconds=500, camera="gate"))
    assert seen == everything
    assert await names(store, camera="gate") == ["c5", "c3", "c1"]
    assert await names(store, owner="ranch") == ["theirs"]
    assert await names(store, owner="nobody") == []


@pytest.mark.parametrize("cursor", ["", "x", "bm90IG91cnM"])
async def test_a_cursor_of_another_kind_is_refused(store: CalibrationStore, cursor: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        await store.list_page(owner="local", limit=5, cursor=cursor)
    assert caught.value.code == "bad_cursor"


async def test_a_page_has_1_to_200_items(store: CalibrationStore) -> None:
    for limit in (0, 201):
        with pytest.raises(InvalidInput):
            await store.list_page(owner="local", limit=limit)


async def test_delete(store: CalibrationStore) -> None:
    await store.add(make())
    await store.add(make(owner="ranch"))
    assert await store.delete("north-camera", owner="local")
    assert not await store.delete("north-camera", owner="local")
    assert await names(store) == []
    assert await names(store, owner="ranch") == ["north-camera"]
    assert await store.add(make(seconds=9)) == make(seconds=9)


async def test_two_spellings_of_one_name_are_one(store: CalibrationStore) -> None:
    await store.add(make("Pr\u00e9"))
    assert (await store.get("Pre\u0301", owner="local")).name == "Pr\u00e9"


async def test_opening_again_and_ping_are_harmless(store: CalibrationStore) -> None:
    await store.add(make())
    await asyncio.gather(store.open(), store.open())
    await store.ping()
    assert await names(store) == ["north-camera"]


async def test_an_sqlite_file_of_before_gets_the_table(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.adapters.sqlite import database as sqlite_database
    from core.adapters.sqlite import schema as sqlite_schema

    with monkeypatch.context() as before:
        before.setattr(sqlite_database, "VERSIONS", sqlite_schema.VERSIONS[:1])
        old = SqliteDatabase(tmp_path / "muster.sqlite3")
        await old.open(tmp_path)
        await old.close(tmp_path)
    store = SqliteCalibrationStore(SqliteDatabase(tmp_path / "muster.sqlite3"))
    await store.open()
    await store.add(make())
    assert await names(store) == ["north-camera"]
    await store.close()
