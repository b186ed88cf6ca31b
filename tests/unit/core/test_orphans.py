"""Blobs without a record: which are deleted, on whose word, when, and which never."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from core.domain.blobs import (
    link_blob,
    log_blob,
    source_blob,
    submitting_blob,
)
from core.domain.identity import Tombstone
from core.errors import PermanentError, Unavailable
from core.services.housekeeping.orphans import Cleared, Orphans
from core.services.housekeeping.unclaimed import Unclaimed, noted_unclaimed
from tests.fakes import IDENTITY
from tests.support.orphan_stand import AGE, HOUR_S, LINK, Stand, key, upload

OTHER = IDENTITY.model_copy(update={"id": "f" * 32})


@pytest.fixture
def stand() -> Stand:
    return Stand()


async def test_what_nothing_explains_is_reported_and_never_deleted(stand: Stand) -> None:
    await stand.add(key(1))
    for number in (1, 2):
        await stand.ports.sources.put(source_blob(key(number), 0), b"x" * number)
        await stand.ports.sources.put(source_blob(key(number), 1), b"x" * number)
        await stand.ports.results.put(log_blob(key(number), "k", 0), b"x" * number)
    await stand.ports.sources.put(upload(3), b"abc")
    began, everything = stand.clock(), await stand.blobs()
    stand.clock.step(3600)
    assert (await stand.orphans.run(), stand.unclaimed) == (Cleared(), []), (
        "an hour old is not older than an hour"
    )
    stand.clock.step(400 * 24 * 3600)
    assert await stand.orphans.run() == Cleared()
    assert await stand.blobs() == everything
    assert stand.unclaimed == [
        Unclaimed("uploads", upload(3), 1, 3, began, began),
        Unclaimed("sources", key(2), 2, 4, began, began),
        Unclaimed("results", key(2), 1, 2, began, began),
    ]
    noted = await noted_unclaimed(stand.ports.ledger)
    assert (noted["folders"], noted["blobs"], noted["bytes"], noted["oldest_at_utc"]) == (
        3,
        4,
        9,
        began.isoformat(),
    )
    await stand.add(key(2))
    await stand.ports.sources.delete(upload(3))
    await stand.orphans.run()
    assert (await noted_unclaimed(stand.ports.ledger))["blobs"] == 0, "explained again"


async def test_a_submission_that_died_is_cleared_on_its_marker_s_word(stand: Stand) -> None:
    await stand.die(1, files=2)
    await stand.die(2, identity=None)
    await stand.die(3, identity=OTHER)
    await stand.die(4, identity=OTHER.model_copy(update={"id": "e" * 32}))
    stand.ports.sources.stage_only(source_blob(key(1), 2))
    await stand.ports.ledger.replace(IDENTITY.model_copy(update={"former": ("e" * 32,)}))
    stand.clock.step(3601)
    assert await stand.orphans.run() == Cleared(orphans=4 + 2)
    assert {name.split("/")[1] for name in await stand.blobs()} == {key(2), key(3)}
    assert [item.name for item in stand.unclaimed] == [key(2), key(3)]


async def test_a_sweep_that_dies_keeps_the_marker_for_the_next(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stand.die(1, files=3)
    stand.clock.step(3601)
    purge = stand.ports.sources.purge

    async def dies_at_the_second(name: str) -> None:
        if name.endswith("001"):
            raise Unavailable("Storage does not answer.")
        await purge(name)

    with monkeypatch.context() as dying:
        dying.setattr(stand.ports.sources, "purge", dies_at_the_second)
        with pytest.raises(Unavailable):
            await stand.orphans.run()
    assert submitting_blob(key(1)) in await stand.blobs()
    await stand.orphans.run()
    assert await stand.blobs() == []


async def test_a_submission_that_is_being_written_is_left_alone(stand: Stand) -> None:
    await stand.die(1)
    for _ in range(20):
        stand.clock.step(HOUR_S / 2)
        await stand.ports.sources.put(submitting_blob(key(1)), IDENTITY.mark.to_bytes())
        assert await stand.orphans.run() == Cleared()
    assert stand.unclaimed == []
    stand.clock.step(HOUR_S)
    assert await stand.orphans.run() == Cleared(orphans=2)


async def test_late_blobs_of_a_deleted_job_go_however_young(stand: Stand) -> None:
    for number, reason in enumerate(("deleted", "refused", "purged", "expired")):
        await stand.ports.sources.put(source_blob(key(number), 0), b"x")
        await stand.ports.results.put(log_blob(key(number), "k", 0), b"x")
        await stand.ports.ledger.bury(
            Tombstone(job_id=key(number), reason=reason, written_at_utc=stand.clock())
        )
    assert await stand.orphans.run() == Cleared(buried=6)
    assert {name.split("/")[1] for name in await stand.blobs()} == {key(3)}, (
        "an expired job has its record, or is unknown"
    )


async def test_an_operator_who_asks_is_told_of_the_youngest_too(stand: Stand) -> None:
    await stand.ports.sources.put(source_blob(key(1), 0), b"x")
    await stand.die(2)
    found: list[Unclaimed] = []
    stand.clock.step(0.001)
    asked = stand.sweeper(reported_age=timedelta(0), dry_run=True, on_unclaimed=found.append)
    assert await asked.run(pages=None) == Cleared()
    assert [item.name for item in found] == [key(1)], "what is being submitted has its marker"


async def test_a_dry_run_deletes_nothing_and_says_the_same(stand: Stand) -> None:
    await stand.die(1, files=2)
    await stand.link(2)
    await stand.ports.sources.put(upload(2), b"x")
    await stand.ports.sources.put(source_blob(key(3), 0), b"x")
    await stand.ports.ledger.bury(
        Tombstone(job_id=key(3), reason="deleted", written_at_utc=stand.clock())
    )
    await stand.ports.results.put(log_blob(key(4), "k", 0), b"x")
    stand.clock.step(2 * HOUR_S)
    before = await stand.blobs()
    found: list[Unclaimed] = []
    said = await stand.sweeper(dry_run=True, on_unclaimed=found.append).run(pages=None)
    assert (await stand.blobs(), await noted_unclaimed(stand.ports.ledger)) == (before, {})
    assert said == await stand.orphans.run(pages=None) == Cleared(orphans=3, uploads=1, buried=1)
    assert [item.name for item in found] == [key(4)]


async def test_a_job_recorded_while_its_blobs_were_looked_at_keeps_them(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stand.die(1)
    stand.clock.step(HOUR_S)
    page = stand.ports.sources.page

    async def recorded_meanwhile(prefix: str, **options: Any) -> Any:
        if prefix.startswith("jobs/"):
            await stand.add(key(1))
        return await page(prefix, **options)

    monkeypatch.setattr(stand.ports.sources, "page", recorded_meanwhile)
    assert await stand.orphans.run() == Cleared()
    assert await stand.blobs() == [source_blob(key(1), 0), submitting_blob(key(1))]
    assert stand.unclaimed == []


async def test_a_wrong_clock_of_this_machine_deletes_nothing(stand: Stand) -> None:
    await stand.die(1)
    await stand.link(2)
    await stand.ports.sources.put(upload(2), b"x")
    fast = Orphans(
        stand.ports, lambda: stand.clock() + timedelta(days=400), least_age=AGE, upload_life=LINK
    )
    assert await fast.run() == Cleared()


async def test_uploads_go_when_their_link_is_long_dead(stand: Stand) -> None:
    await stand.link(1)
    await stand.ports.sources.put(upload(1), b"x")
    await stand.link(2)
    stand.ports.sources.stage_only(upload(2))
    stand.clock.step(90 * 60)
    assert await stand.orphans.run() == Cleared()
    await stand.link(3)
    await stand.ports.sources.put(upload(3), b"x")
    stand.clock.step(1)
    assert await stand.orphans.run() == Cleared(uploads=2)
    assert await stand.blobs() == [upload(3), link_blob(upload(3))]


async def test_an_upload_without_a_marker_of_ours_stays(stand: Stand) -> None:
    await stand.ports.sources.put(upload(1), b"x")
    await stand.ports.sources.put(upload(2), b"x")
    await stand.link(2, identity=OTHER)
    stand.clock.step(100 * HOUR_S)
    before = await stand.blobs()
    assert await stand.orphans.run() == Cleared()
    assert await stand.blobs() == before
    assert [item.name for item in stand.unclaimed] == [upload(1), upload(2)]


async def test_a_link_that_nobody_used_goes_with_its_time(stand: Stand) -> None:
    await stand.link(1)
    stand.clock.step(90 * 60)
    assert (await stand.orphans.run(), await stand.blobs()) == (Cleared(), [link_blob(upload(1))])
    stand.clock.step(1)
    assert (await stand.orphans.run(), await stand.blobs()) == (Cleared(), [])


async def test_what_is_not_ours_is_left_alone(stand: Stand) -> None:
    for name in (
        "jobs/notes.txt",
        "jobs/sample/source/000",
        "elsewhere/x",
        f"jobs/{key(1)}x/source/000",
    ):
        await stand.ports.sources.put(name, b"x")
    before = await stand.blobs()
    stand.clock.step(1000 * HOUR_S)
    assert await stand.orphans.run() == Cleared()
    assert await stand.blobs() == before


async def test_a_run_is_bounded_and_the_next_goes_on(stand: Stand) -> None:
    for number in range(1200):
        await stand.die(number)
    stand.clock.step(HOUR_S)
    assert [(await stand.orphans.run(pages=1)).orphans for _ in range(4)] == [1000, 1000, 400, 0]
    for number in range(1200):
        await stand.ports.sources.put(source_blob(key(number), 0), b"x")
    stand.clock.step(HOUR_S)
    noted = []
    for _ in range(3):
        await stand.orphans.run(pages=1)
        noted.append((await noted_unclaimed(stand.ports.ledger)).get("blobs"))
    assert noted == [0, 0, 1200], "a sum is of a whole walk"


async def test_several_at_once_do_no_harm(stand: Stand) -> None:
    await stand.add(key(1))
    for number in range(40):
        await stand.die(number)
    stand.clock.step(HOUR_S)
    await asyncio.gather(*(stand.sweeper().run() for _ in range(5)))
    assert {name.split("/")[1] for name in await stand.blobs()} == {key(1)}


async def test_an_outage_ends_a_run_and_the_next_finds_the_rest(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        await stand.die(number)
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
    assert await stand.orphans.run() == Cleared(orphans=4)
    assert await stand.blobs() == []


async def test_a_place_that_storage_forgot_is_begun_anew(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
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
