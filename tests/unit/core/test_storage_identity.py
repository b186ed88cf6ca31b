"""Storage and database carry one identity: who may start on what, and what the operator's commands
change.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from core.domain.blobs import log_blob, source_blob
from core.domain.identity import MARK_BLOB, StorageIdentity, StorageMark
from core.errors import Conflict, ForeignStorage, MusterError, Unavailable
from core.ports import Ports
from core.services.housekeeping.storage_identity import require_own_storage, use_own_names
from core.services.housekeeping.storage_takeover import adopt, separate, state_of_storage
from tests.fakes import MemoryJobStore, MemoryPorts, MemoryStorageLedger
from tests.support.api_stand import SteppedClock, make_job, make_ports

CLOCK = SteppedClock()


def key(number: int) -> str:
    return f"{number:032x}"


def unmarked() -> MemoryPorts:
    """Return a new database beside a new storage."""
    return with_database(make_ports(CLOCK))


def with_database(storage: MemoryPorts, identity: StorageIdentity | None = None) -> MemoryPorts:
    """Return another database beside the same storage."""
    return dataclasses.replace(storage, ledger=MemoryStorageLedger(identity), jobs=MemoryJobStore())


def with_storage(ports: MemoryPorts) -> MemoryPorts:
    """Return the same database beside another storage."""
    new = make_ports(CLOCK)
    return dataclasses.replace(
        ports,
        sources=new.sources,
        results=new.results,
        queue=new.queue,
        detect_queue=new.detect_queue,
    )


async def start(ports: Ports) -> StorageIdentity:
    return await require_own_storage(ports, CLOCK)


async def refusal(ports: Ports) -> ForeignStorage:
    before = await marks(ports)
    with pytest.raises(ForeignStorage) as refused:
        await start(ports)
    assert await marks(ports) == before, "a process that is refused marks nothing"
    assert (
        "muster storage adopt" in refused.value.message
        and "muster storage separate" in refused.value.message
    )
    return refused.value


async def marks(ports: Ports) -> list[str | None]:
    state = await state_of_storage(ports)
    containers = [await mark_of(store) for store in (ports.sources, ports.results)]
    queues = [await queue.mark() for queue in (ports.queue, ports.detect_queue)]
    return [*containers, *queues, None if state.identity is None else state.identity.id]


async def mark_of(store: Any) -> str | None:
    names = [info.name async for info in store.list_blobs(MARK_BLOB)]
    mark = StorageMark.from_bytes(await store.get(MARK_BLOB)) if names else None
    return None if mark is None else mark.identity


async def add_jobs(
    ports: Ports, *numbers: int, recorded: bool = True, store: str = "sources"
) -> None:
    for number in numbers:
        blob = source_blob(key(number), 0) if store == "sources" else log_blob(key(number), "k", 0)
        await getattr(ports, store).put(blob, b"x")
        if recorded:
            await ports.jobs.add(make_job(key(number), CLOCK()))


async def test_a_new_installation_is_marked_everywhere_and_starts_again() -> None:
    ports = unmarked()
    identity = await start(ports)
    assert await marks(ports) == [identity.id] * 5
    assert await start(ports) == identity


async def test_several_processes_that_start_at_once_agree() -> None:
    ports = unmarked()
    assert (
        len({(await one).id for one in [asyncio.ensure_future(start(ports)) for _ in range(8)]})
        == 1
    )


async def test_of_two_databases_that_meet_on_a_new_storage_one_gets_all_of_it() -> None:
    first = unmarked()
    second = with_database(first)
    done = await asyncio.gather(start(first), start(second), return_exceptions=True)
    assert sorted(type(one).__name__ for one in done) == ["ForeignStorage", "StorageIdentity"]
    assert len(set((await marks(first))[:4])) == 1


async def test_a_storage_that_is_marked_while_a_process_looks_stays_whose_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = unmarked()
    second = with_database(first)
    claim, won = second.ledger.claim, []

    async def overtaken(identity: StorageIdentity) -> StorageIdentity:
        won.append(await start(first))
        return await claim(identity)

    monkeypatch.setattr(second.ledger, "claim", overtaken)
    with pytest.raises(ForeignStorage):
        await start(second)
    assert (await marks(first))[:4] == [won[0].id] * 4


@pytest.mark.parametrize("used", ["storage", "database", "neither", "both"])
async def test_an_unmarked_database_is_refused_a_marked_storage_whatever_either_holds(
    used: str,
) -> None:
    """A forgotten MONGO_URI, another data folder, a database restored from before the marking."""
    first = unmarked()
    await start(first)
    second = with_database(first)
    if used in ("storage", "both"):
        await add_jobs(first, 1)
    if used in ("database", "both"):
        await add_jobs(second, 1)
    refused = await refusal(second)
    assert (refused.code, "another database (memory" in refused.message) == (
        "foreign_storage",
        True,
    )
    assert await second.ledger.identity() is None


async def test_a_database_with_an_identity_of_its_own_is_refused_another_s_storage() -> None:
    first, second = unmarked(), unmarked()
    await start(first)
    await start(second)
    mixed = dataclasses.replace(first, ledger=second.ledger, jobs=second.jobs)
    assert (await refusal(mixed)).code == "foreign_storage"


@pytest.mark.parametrize("place", ["sources", "results", "queue", "detect_queue"])
async def test_one_foreign_place_is_enough_to_be_refused(place: str) -> None:
    first, second = unmarked(), unmarked()
    await start(first)
    await start(second)
    mixed = dataclasses.replace(first, **{place: getattr(second, place)})
    assert (await refusal(mixed)).code == "foreign_storage"


async def test_a_mark_that_cannot_be_read_is_somebody_else_s() -> None:
    ports = unmarked()
    await ports.results.put(MARK_BLOB, b"?")
    assert (await refusal(ports)).code == "foreign_storage"


@pytest.mark.parametrize("place", ["sources", "results"])
async def test_a_place_that_lost_its_mark_is_marked_again(place: str) -> None:
    """Azurite that is killed loses its last seconds."""
    ports = unmarked()
    identity = await start(ports)
    await add_jobs(ports, 1)
    await getattr(ports, place).delete(MARK_BLOB)
    assert (await start(ports), await marks(ports)) == (identity, [identity.id] * 5)


async def test_a_marked_database_marks_an_empty_storage_and_is_refused_a_used_one() -> None:
    ports = unmarked()
    identity = await start(ports)
    moved = with_storage(ports)
    assert (await start(moved), await marks(moved)) == (identity, [identity.id] * 5)
    for prefix in ("jobs", "uploads"):
        other = with_storage(ports)
        await other.results.put(f"{prefix}/somebody/x", b"x")
        assert (await refusal(other)).code == "storage_unmarked"


async def test_blobs_of_others_do_not_count_as_use() -> None:
    ports = unmarked()
    await start(ports)
    other = with_storage(ports)
    await other.sources.put("holiday.mp4", b"x")
    await start(other)
    assert (await other.sources.get("holiday.mp4")) == b"x"


@pytest.mark.parametrize(
    ("known", "unknown"),
    [((), ()), ((1,), ()), ((1, 2), (3, 4)), ((), (1, 2)), ((1,), tuple(range(2, 21)))],
)
async def test_an_installation_of_before_marks_is_recognised(
    known: tuple[int, ...], unknown: tuple[int, ...]
) -> None:
    ports = unmarked()
    await add_jobs(ports, *known)
    await add_jobs(ports, *unknown, recorded=False)
    identity = await start(ports)
    assert await marks(ports) == [identity.id] * 5


async def test_it_is_recognised_by_its_results_where_all_videos_have_expired() -> None:
    ports = unmarked()
    await add_jobs(ports, 1, store="results")
    await start(ports)


async def test_two_used_strangers_without_marks_are_not_brought_together() -> None:
    ports = unmarked()
    await ports.jobs.add(make_job(key(99), CLOCK()))
    await add_jobs(ports, *range(30), recorded=False)
    assert (await refusal(ports)).code == "storage_unclear"
    await adopt(ports, CLOCK)
    await start(ports)


async def test_a_database_takes_a_storage_over_and_the_one_before_is_refused() -> None:
    first = unmarked()
    before = await start(first)
    await add_jobs(first, 1)
    second = with_database(first)
    taken = await adopt(second, CLOCK)
    assert (taken.former, taken.id != before.id) == ((before.id,), True)
    assert (await start(second), await marks(second)) == (taken, [taken.id] * 5)
    assert (await refusal(first)).code == "foreign_storage"
    assert await adopt(second, CLOCK) == taken, "again changes nothing"
    back = await adopt(first, CLOCK)
    assert set(back.former) == {taken.id, before.id}
    assert (await start(first)).id == back.id


async def test_a_takeover_that_dies_is_finished_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = unmarked()
    before = await start(first)
    second = with_database(first)
    with monkeypatch.context() as dying:
        dying.setattr(second.results, "put", _away)
        with pytest.raises(Unavailable):
            await adopt(second, CLOCK)
    assert len(set(await marks(second))) == 2
    taken = await start(second)
    assert taken.owns(before.id)
    await adopt(second, CLOCK)
    assert await marks(second) == [taken.id] * 5


async def _away(*args: Any, **options: Any) -> None:
    raise Unavailable("Storage does not answer.")


async def test_a_database_gets_a_storage_of_its_own() -> None:
    first = unmarked()
    await start(first)
    second = with_database(first)
    for place, name in zip(
        first.storage,
        ("raw-videos", "processed-videos", "video-queue", "video-queue-detect"),
        strict=True,
    ):
        place.name = name
    identity = await separate(second, CLOCK)
    tail = identity.id[:8]
    assert identity.names == {
        "raw-videos": f"raw-videos-{tail}",
        "processed-videos": f"processed-videos-{tail}",
        "video-queue": f"video-queue-{tail}",
        "video-queue-detect": f"video-queue-{tail}-detect",
    }
    configured = with_storage(second)
    for place, name in zip(configured.storage, identity.names, strict=True):
        place.name = name
    for _ in range(2):
        await use_own_names(configured)
        assert [place.name for place in configured.storage] == list(identity.names.values())
    assert await start(configured) == identity
    with pytest.raises(Conflict) as refused:
        await separate(configured, CLOCK)
    assert refused.value.code == "storage_is_own"


async def test_names_of_its_own_fit_whatever_is_configured() -> None:
    ports = unmarked()
    for place, name in zip(
        ports.storage,
        ("a" * 63, "b" * 31 + "-" + "c" * 31, "q" * 49, "q" * 49 + "-detect"),
        strict=True,
    ):
        place.name = name
    names = list((await separate(ports, CLOCK)).names.values())
    assert max(len(f"{name}-poison") for name in names) <= 63
    assert not any("--" in name for name in names) and names[3] == f"{names[2]}-detect"


async def test_an_outage_is_no_refusal() -> None:
    ports = unmarked()
    ports.sources.away = True
    with pytest.raises(MusterError) as refused:
        await start(ports)
    assert refused.value.code == "unavailable" and await ports.ledger.identity() is None
