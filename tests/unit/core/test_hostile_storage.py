"""Wrong databases, restored backups, wrong clocks, interrupted commands: nothing that somebody may
need is deleted.
"""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from api.services import Services
from core import bootstrap
from core.domain.blobs import result_blob, source_blob, submission_blob, submitting_blob
from core.domain.housekeeping import HousekeepingRules
from core.domain.identity import MARK_BLOB, StorageIdentity, Tombstone
from core.domain.job import Job
from core.errors import ForeignStorage, PermanentError, Unavailable
from core.ports import Ports
from core.services.attempts.dispatch import Dispatcher
from core.services.housekeeping.expiry_brake import held_expiry
from core.services.housekeeping.keeper import Housekeeping
from core.services.housekeeping.orphans import Cleared, Orphans
from core.services.housekeeping.storage_identity import require_own_storage, use_own_names
from core.services.housekeeping.storage_takeover import adopt, separate, state_of_storage
from core.services.housekeeping.unclaimed import Unclaimed
from tests.fakes import IDENTITY, MemoryJobStore, MemoryPorts, MemoryStorageLedger
from tests.support.api_stand import SteppedClock, make_job, make_ports
from tests.support.configuration import api_config

DAY_S = 24 * 3600.0
HOUR = timedelta(hours=1)
NAMES = ("raw-videos", "processed-videos", "video-queue", "video-queue-detect")


def key(number: int) -> str:
    return f"{number:032x}"


def rules(days: float | None = None) -> HousekeepingRules:
    return HousekeepingRules(
        timedelta(days=999), HOUR, HOUR, None if days is None else timedelta(days=days)
    )


def sweep(ports: Ports, clock: Any, days: float | None = None) -> Housekeeping:
    return Housekeeping(ports, Dispatcher(ports), clock, rules(days))


async def blobs(ports: Ports) -> list[str]:
    stores = (ports.sources, ports.results)
    return [
        info.name
        for store in stores
        for info in (await store.page("", limit=10_000)).items
        if info.name != MARK_BLOB
    ]


def with_database(storage: MemoryPorts, identity: StorageIdentity | None = None) -> MemoryPorts:
    """Return another database beside the same storage."""
    return dataclasses.replace(storage, ledger=MemoryStorageLedger(identity), jobs=MemoryJobStore())


async def marks(ports: Ports) -> set[str]:
    return set((await state_of_storage(ports)).marks.found.values())


# ---------------------------------------------------------------- markers


async def submit(ports: Ports, clock: SteppedClock, number: int, *, accepted: bool) -> Job:
    """Leave what an API leaves that could not delete the marker; not accepted: it died before the
    record.
    """
    job = make_job(key(number), clock())
    await ports.sources.put(submitting_blob(job.id), IDENTITY.mark.to_bytes())
    await ports.sources.put(source_blob(job.id, 0), b"film")
    if accepted:
        await ports.results.put(submission_blob(job.id), job.model_dump_json().encode())
    return job


@pytest.mark.parametrize(
    "identity", [IDENTITY, IDENTITY.model_copy(update={"id": "e" * 32, "former": (IDENTITY.id,)})]
)
async def test_a_marker_left_beside_an_accepted_film_does_not_cost_it(
    identity: StorageIdentity,
) -> None:
    """The marker stays where storage did not answer its deletion; then a backup is restored, or
    another database adopts.
    """
    clock = SteppedClock()
    ports = with_database(make_ports(clock), identity)
    await submit(ports, clock, 1, accepted=True)
    await submit(ports, clock, 2, accepted=False)
    clock.step(30 * DAY_S)
    found: list[Unclaimed] = []
    cleared = await Orphans(
        ports, clock, least_age=HOUR, upload_life=HOUR, on_unclaimed=found.append
    ).run()
    assert cleared == Cleared(orphans=2), "what was never accepted goes"
    assert {item.name for item in found} == {key(1)}
    assert await blobs(ports) == [
        source_blob(key(1), 0),
        submitting_blob(key(1)),
        submission_blob(key(1)),
    ]


# ---------------------------------------------------------------- a stack that runs on after its
# storage was taken


async def expire_all(ports: Ports, clock: SteppedClock, numbers: range) -> None:
    for number in numbers:
        await ports.jobs.add(make_job(key(number), clock(), state="completed"))
        await ports.sources.put(source_blob(key(number), 0), b"film")


@pytest.mark.parametrize("what", ["retention", "announced", "marked", "revisions"])
async def test_a_sweeper_whose_storage_was_taken_over_deletes_nothing(what: str) -> None:
    clock = SteppedClock()
    first = with_database(make_ports(clock))
    own = await require_own_storage(first, clock)
    await expire_all(first, clock, range(3))
    if what == "announced":
        await first.ledger.bury(Tombstone(job_id=key(0), reason="deleted", written_at_utc=clock()))
    if what == "marked":
        await first.sources.put(submitting_blob(key(7)), own.mark.to_bytes())
    if what == "revisions":
        await first.results.put(result_blob(key(0), "r0001-00000000", "results.json"), b"{}")
    clock.step(40 * DAY_S)
    everything = await blobs(first)
    await adopt(with_database(first), clock)
    for _ in range(2):
        with pytest.raises(ForeignStorage):
            await sweep(first, clock, 7).run(everything=True)
    assert await blobs(first) == everything
    assert (await first.jobs.get(key(0))).expired == ()


async def test_a_sweeper_goes_on_where_its_own_storage_lost_marks() -> None:
    clock = SteppedClock()
    ports = with_database(make_ports(clock))
    await require_own_storage(ports, clock)
    await ports.results.delete(MARK_BLOB)
    await expire_all(ports, clock, range(3))
    clock.step(40 * DAY_S)
    assert (await sweep(ports, clock, 7).run(everything=True)).expired == 3


# ---------------------------------------------------------------- clocks


@pytest.mark.parametrize("ahead_days", [1, 400, 20_000])
async def test_a_clock_that_is_ahead_lets_nothing_expire(ahead_days: float) -> None:
    clock = SteppedClock()
    ports = make_ports(clock)
    await sweep(ports, clock, 30).run()
    await expire_all(ports, clock, range(3))
    clock.step(29.5 * DAY_S)
    everything = await blobs(ports)
    wrong = sweep(ports, lambda: clock() + timedelta(days=ahead_days), 30)
    assert (await wrong.run(everything=True)).expired == 0
    assert await blobs(ports) == everything
    clock.step(DAY_S)
    assert (await sweep(ports, clock, 30).run(everything=True)).expired == 3


@pytest.mark.parametrize(("first_days", "second_days"), [(0, 1), (0, 400), (-1, 0), (-400, 0)])
async def test_clocks_that_differ_do_not_end_the_wait_of_a_new_retention(
    first_days: float, second_days: float
) -> None:
    """Two APIs: one begins the wait, the other one looks whether it is over."""
    clock = SteppedClock()
    ports = make_ports(clock)
    await sweep(ports, clock, 300).run()
    await expire_all(ports, clock, range(30))
    clock.step(100 * DAY_S)
    for days in (first_days, second_days):
        wrong = sweep(ports, lambda days=days: clock() + timedelta(days=days), 7)
        report = await wrong.run(everything=True)
        assert (report.expired, report.held or days < 0) == (0, True)
    assert (await sweep(ports, clock, 7).run(everything=True)).held
    held = await held_expiry(ports)
    assert held is not None and held.goes_on_at_utc == clock() + timedelta(days=1)


async def test_a_clock_that_is_ahead_forgets_no_tombstone() -> None:
    clock = SteppedClock()
    ports = make_ports(clock)
    tombstone = await ports.ledger.bury(
        Tombstone(job_id=key(1), reason="deleted", written_at_utc=clock())
    )
    await ports.ledger.finish(tombstone, at=clock())
    await sweep(ports, lambda: clock() + timedelta(days=400)).run()
    assert list(await ports.ledger.tombstones([key(1)])) == [key(1)]


# ---------------------------------------------------------------- commands that die, and that are
# run again


@pytest.mark.parametrize("place", ["sources", "results", "queue", "detect_queue"])
async def test_a_takeover_that_died_anywhere_is_finished_by_the_next_start(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the database of before could start, too, and two would own one storage."""
    clock = SteppedClock()
    first = with_database(make_ports(clock))
    await require_own_storage(first, clock)
    second = with_database(first)

    async def die(*args: Any, **options: Any) -> None:
        raise Unavailable("It does not answer.")

    with monkeypatch.context() as dying:
        dying.setattr(getattr(second, place), "set_mark" if "queue" in place else "put", die)
        with pytest.raises(Unavailable):
            await adopt(second, clock)
    taken = await require_own_storage(second, clock)
    assert await marks(second) == {taken.id}
    with pytest.raises(ForeignStorage):
        await require_own_storage(first, clock)


def named(ports: MemoryPorts, names: tuple[str, ...] = NAMES) -> MemoryPorts:
    """Return the same database beside a new storage, with the names that are configured: as a
    process starts.
    """
    new = make_ports(SteppedClock())
    again = dataclasses.replace(
        ports,
        sources=new.sources,
        results=new.results,
        queue=new.queue,
        detect_queue=new.detect_queue,
    )
    for place, name in zip(again.storage, names, strict=True):
        place.name = name
    return again


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_separation_that_died_before_it_was_marked_keeps_its_names(times: int) -> None:
    clock = SteppedClock()
    ports = named(with_database(make_ports(clock)))
    names = (await separate(ports, clock)).names
    for _ in range(times):
        # As the command does: the names are those of before when it is run again.
        again = named(ports)
        await use_own_names(again)
        assert (await separate(again, clock)).names == names
    started = named(ports)
    await use_own_names(started)
    await require_own_storage(started, clock)
    assert {
        place.name: own for place, own in zip(named(ports).storage, names.values(), strict=True)
    } == names
    assert [place.name for place in started.storage] == list(names.values())


@pytest.mark.parametrize("shared", ["ranch-of-the-northern-plains-video", "x" * 50])
async def test_long_names_that_begin_alike_get_names_that_differ(shared: str) -> None:
    clock = SteppedClock()
    names = (
        f"{shared}-in",
        f"{shared}-out",
        f"{shared}-queue"[:49],
        f"{shared}-queue"[:49] + "-detect",
    )
    own = list(
        (await separate(named(with_database(make_ports(clock)), names), clock)).names.values()
    )
    assert len(set(own)) == 4
    assert own[3] == f"{own[2]}-detect" and max(len(f"{name}-poison") for name in own) <= 63


async def test_a_copy_of_a_separated_database_gets_names_that_are_not_the_other_s() -> None:
    """Two copies of one file: one adopts, the other one has to go."""
    clock = SteppedClock()
    first = named(with_database(make_ports(clock)))
    identity = await separate(first, clock)
    opened = named(first)
    await use_own_names(opened)
    await require_own_storage(opened, clock)
    copy = with_database(opened, identity.model_copy(update={"id": "c" * 32}))
    apart = await separate(copy, clock)
    assert list(apart.names) == list(NAMES) and not {*apart.names.values()} & {
        *identity.names.values()
    }
    started = named(copy)
    await use_own_names(started)
    assert await require_own_storage(started, clock) == apart


# ---------------------------------------------------------------- a blob that cannot be deleted


@pytest.mark.parametrize("reason", ["deleted", "expired"])
async def test_a_job_whose_blobs_cannot_be_deleted_holds_up_no_other(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease or a hold that somebody put on a blob: storage refuses, each time."""
    clock = SteppedClock()
    ports = make_ports(clock)
    await expire_all(ports, clock, range(3))
    await sweep(ports, clock, 30).run()
    if reason == "deleted":
        for number in range(3):
            await ports.ledger.bury(
                Tombstone(job_id=key(number), reason="deleted", written_at_utc=clock())
            )
            clock.step(1)
    delete = ports.sources.delete_prefix

    async def held(prefix: str) -> int:
        if key(0) in prefix:
            raise PermanentError("There is currently a lease on the blob.")
        return await delete(prefix)

    monkeypatch.setattr(ports.sources, "delete_prefix", held)
    clock.step(31 * DAY_S)
    for _ in range(2):
        with pytest.raises(PermanentError, match="lease"):
            await sweep(ports, clock, 30).run(everything=True)
    assert await blobs(ports) == [source_blob(key(0), 0)]
    monkeypatch.undo()
    await sweep(ports, clock, 30).run(everything=True)
    assert await blobs(ports) == []


async def test_an_api_that_was_refused_connects_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator runs `separate` beside it: a connection that stayed would go to the queues of
    before.
    """
    ports = make_ports(SteppedClock())
    connected: set[str] = set()

    async def connect(queue: Any) -> None:
        # As the real one: once, under the name of that moment.
        connected.add(queue.name if not connected else min(connected))

    async def disconnect(queue: Any) -> None:
        connected.clear()

    async def open_ports(opened: Ports) -> None:
        await opened.queue.open()
        if connected == {"queue-of-before"}:
            opened.queue.name = "queue-of-its-own"
            raise ForeignStorage("Storage and database do not belong together.")

    ports.queue.name = "queue-of-before"
    monkeypatch.setattr(type(ports.queue), "open", connect)
    monkeypatch.setattr(type(ports.queue), "close", disconnect)
    monkeypatch.setattr(bootstrap, "open_ports", open_ports)
    services = Services(api_config(), ports, SteppedClock(), opened=False)
    opening = asyncio.ensure_future(services.keep_open(longest_s=0))
    for _ in range(50):
        await asyncio.sleep(0)
    opening.cancel()
    assert services.opened and connected == {"queue-of-its-own"}
