"""Blobs of nobody: which are deleted, when, and which never."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from core.domain.blobs import assembly_blob, log_blob, result_blob, source_blob
from core.errors import PermanentError, Unavailable
from core.services.orphans import Cleared, Orphans
from tests.api_stand import SteppedClock, make_job, make_ports

AGE, LINK = timedelta(minutes=60), timedelta(minutes=30)
HOUR_S = 3601.0


class Stand:
    """Ports in memory and a clock."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.ports = make_ports(self.clock)
        self.orphans = Orphans(self.ports, self.clock, least_age=AGE, upload_life=LINK)

    async def blobs(self) -> list[str]:
        found = []
        for store in (self.ports.sources, self.ports.results):
            found += [info.name for info in (await store.page("", limit=10_000)).items]
        return found

    async def add(self, job_id: str, **fields: Any) -> None:
        await self.ports.jobs.add(make_job(job_id, self.clock(), **fields))


@pytest.fixture
def stand() -> Stand:
    return Stand()


def key(number: int) -> str:
    return f"{number:032x}"


def upload(number: int) -> str:
    return f"uploads/somebody/{key(number)}"


async def test_what_no_job_owns_goes_when_it_is_old_enough(stand: Stand) -> None:
    await stand.add(key(1))
    for number in (1, 2):
        await stand.ports.sources.put(source_blob(key(number), 0), b"x")
        await stand.ports.sources.put(source_blob(key(number), 1), b"x")
        await stand.ports.results.put(log_blob(key(number), "k", 0), b"x")
    stand.ports.sources.stage_only(source_blob(key(3), 0))
    everything = await stand.blobs()
    stand.clock.step(3600)
    assert await stand.orphans.run() == Cleared()
    assert await stand.blobs() == everything, "an hour old is not older than an hour"
    stand.clock.step(1)
    assert await stand.orphans.run() == Cleared(orphans=4)
    assert await stand.blobs() == [name for name in everything if key(1) in name]
    assert await stand.orphans.run() == Cleared()


async def test_a_submission_that_is_being_written_is_left_alone(stand: Stand) -> None:
    await stand.ports.sources.put(source_blob(key(1), 0), b"x")
    for _ in range(20):
        stand.clock.step(HOUR_S / 2)
        await stand.ports.sources.put(f"jobs/{key(1)}/submitting", b"")
        assert await stand.orphans.run() == Cleared()
    stand.clock.step(HOUR_S)
    assert await stand.orphans.run() == Cleared(orphans=2)


async def test_a_job_recorded_while_its_blobs_were_looked_at_keeps_them(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    await stand.ports.sources.put(source_blob(key(1), 0), b"x")
    stand.clock.step(HOUR_S)
    page = stand.ports.sources.page

    async def recorded_meanwhile(prefix: str, **options: Any) -> Any:
        if prefix.startswith("jobs/"):
            await stand.add(key(1))
        return await page(prefix, **options)

    monkeypatch.setattr(stand.ports.sources, "page", recorded_meanwhile)
    assert await stand.orphans.run() == Cleared()
    assert await stand.blobs() == [source_blob(key(1), 0)]


async def test_a_wrong_clock_of_this_machine_deletes_nothing(stand: Stand) -> None:
    await stand.ports.sources.put(source_blob(key(1), 0), b"x")
    await stand.ports.sources.put(upload(2), b"x")
    fast = Orphans(stand.ports, lambda: stand.clock() + timedelta(days=400), least_age=AGE, upload_life=LINK)
    assert await fast.run() == Cleared()


async def test_uploads_go_when_their_link_is_long_dead(stand: Stand) -> None:
    await stand.ports.sources.put(upload(1), b"x")
    stand.ports.sources.stage_only(upload(2))
    stand.clock.step(90 * 60)
    assert await stand.orphans.run() == Cleared()
    await stand.ports.sources.put(upload(3), b"x")
    stand.clock.step(1)
    assert await stand.orphans.run() == Cleared(uploads=2)
    assert await stand.blobs() == [upload(3)]


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"state": "rendering", "attempt": 2, "result_revision": "r0001-a"}, ["r0001-a", "r0001-b", "r0002-c", "r0003-d"]),
        ({"state": "completed", "attempt": 2, "result_revision": "r0002-c"}, ["r0002-c", "r0003-d"]),
        ({"state": "failed", "attempt": 2, "result_revision": "r0001-a"}, ["r0001-a", "r0003-d"]),
        ({"state": "cancelled", "attempt": 1, "result_revision": None}, ["r0002-c", "r0003-d"]),
    ],
)
async def test_of_ended_attempts_the_published_revision_stays(stand: Stand, fields: dict[str, Any], kept: list[str]) -> None:
    await stand.add(key(1), **fields)
    revisions = ["r0001-a", "r0001-b", "r0002-c", "r0003-d"]
    for revision in revisions:
        await stand.ports.results.put(result_blob(key(1), revision, "results.json"), b"x")
        await stand.ports.results.put(assembly_blob(key(1), "k", revision), b"x")
    log = await stand.ports.results.put(log_blob(key(1), "k", 0), b"x")
    assert await stand.orphans.run() == Cleared()
    stand.clock.step(HOUR_S)
    assert await stand.orphans.run() == Cleared(unpublished=2 * (4 - len(kept)))
    left = [result_blob(key(1), revision, "results.json") for revision in kept]
    left += [assembly_blob(key(1), "k", revision) for revision in kept]
    assert sorted(await stand.blobs()) == sorted([*left, log.name])


async def test_a_late_worker_s_results_go_too(stand: Stand) -> None:
    await stand.add(key(1), state="completed", result_revision="r0001-a")
    await stand.ports.results.put(result_blob(key(1), "r0001-a", "results.json"), b"x")
    stand.clock.step(HOUR_S)
    assert await stand.orphans.run() == Cleared()
    await stand.ports.results.put(result_blob(key(1), "r0001-late", "results.json"), b"x")
    stand.clock.step(HOUR_S)
    assert await stand.orphans.run() == Cleared(unpublished=1)


async def test_what_is_not_ours_is_left_alone(stand: Stand) -> None:
    for name in ("jobs/notes.txt", "jobs/sample/source/000", "elsewhere/x", f"jobs/{key(1)}x/source/000"):
        await stand.ports.sources.put(name, b"x")
    before = await stand.blobs()
    stand.clock.step(1000 * HOUR_S)
    assert await stand.orphans.run() == Cleared()
    assert await stand.blobs() == before


async def test_a_run_is_bounded_and_the_next_goes_on(stand: Stand) -> None:
    for number in range(1200):
        await stand.ports.sources.put(source_blob(key(number), 0), b"x")
    stand.clock.step(HOUR_S)
    assert [(await stand.orphans.run(pages=1)).orphans for _ in range(4)] == [500, 500, 200, 0]
    for number in range(1200):
        await stand.ports.sources.put(source_blob(key(number), 0), b"x")
    stand.clock.step(HOUR_S)
    assert await stand.orphans.run(pages=None) == Cleared(orphans=1200)


async def test_several_at_once_do_no_harm(stand: Stand) -> None:
    await stand.add(key(1))
    for number in range(40):
        await stand.ports.sources.put(source_blob(key(number), 0), b"x")
    stand.clock.step(HOUR_S)
    sweepers = [Orphans(stand.ports, stand.clock, least_age=AGE, upload_life=LINK) for _ in range(5)]
    await asyncio.gather(*(sweeper.run() for sweeper in sweepers))
    assert await stand.blobs() == [source_blob(key(1), 0)]


async def test_an_outage_ends_a_run_and_the_next_finds_the_rest(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        await stand.ports.sources.put(source_blob(key(number), 0), b"x")
    stand.clock.step(HOUR_S)
    purge, purged = stand.ports.sources.purge, 0

    async def goes_away(name: str) -> None:
        nonlocal purged
        purged += 1
        if purged == 2:
            raise Unavailable("Storage does not answer.")
        await purge(name)

    monkeypatch.setattr(stand.ports.sources, "purge", goes_away)
    with pytest.raises(Unavailable):
        await stand.orphans.run()
    assert await stand.orphans.run() == Cleared(orphans=2)
    assert await stand.blobs() == []


async def test_a_place_that_storage_forgot_is_begun_anew(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(600):
        await stand.ports.sources.put(source_blob(key(number), 0), b"x")
    folders = stand.ports.sources.folders

    async def forgetful(prefix: str, *, limit: int, cursor: str | None = None) -> Any:
        if cursor is not None:
            raise PermanentError("Storage refused the request.", code="storage_refused")
        return await folders(prefix, limit=limit, cursor=cursor)

    monkeypatch.setattr(stand.ports.sources, "folders", forgetful)
    assert await stand.orphans.run(pages=1) == Cleared()
    with pytest.raises(PermanentError):
        await stand.orphans.run(pages=1)
    assert await stand.orphans.run(pages=1) == Cleared()
