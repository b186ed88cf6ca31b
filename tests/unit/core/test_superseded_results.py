"""Revisions of results: which are deleted, when, and which never."""

from __future__ import annotations

from typing import Any

import pytest

from core.domain.blobs import (
    assembly_blob,
    log_blob,
    result_blob,
)
from core.domain.housekeeping import READ_LIFE
from core.services.housekeeping.orphans import Cleared
from tests.support.orphan_stand import HOUR_S, Stand, key


@pytest.fixture
def stand() -> Stand:
    return Stand()


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        (
            {"state": "rendering", "attempt": 2, "result_revision": "r0001-a"},
            ["r0001-a", "r0001-b", "r0002-c", "r0003-d"],
        ),
        (
            {"state": "completed", "attempt": 2, "result_revision": "r0002-c"},
            ["r0002-c", "r0003-d"],
        ),
        ({"state": "failed", "attempt": 2, "result_revision": "r0001-a"}, ["r0001-a", "r0003-d"]),
        ({"state": "cancelled", "attempt": 1, "result_revision": None}, ["r0002-c", "r0003-d"]),
    ],
)
async def test_of_ended_attempts_the_published_revision_stays(
    stand: Stand, fields: dict[str, Any], kept: list[str]
) -> None:
    await stand.add(key(1), **fields)
    revisions = ["r0001-a", "r0001-b", "r0002-c", "r0003-d"]
    for revision in revisions:
        await stand.ports.results.put(result_blob(key(1), revision, "results.json"), b"x")
        await stand.ports.results.put(assembly_blob(key(1), "k", revision), b"x")
    log = await stand.ports.results.put(log_blob(key(1), "k", 0), b"x")
    assert await stand.orphans.run() == Cleared()
    stand.clock.step(HOUR_S)
    if fields["state"] == "completed":
        assert await stand.orphans.run() == Cleared(), "what was published before may still be read"
        stand.clock.step(READ_LIFE.total_seconds() - HOUR_S)
    assert await stand.orphans.run() == Cleared(unpublished=2 * (4 - len(kept)))
    left = [result_blob(key(1), revision, "results.json") for revision in kept]
    left += [assembly_blob(key(1), "k", revision) for revision in kept]
    assert sorted(await stand.blobs()) == sorted([*left, log.name])


@pytest.mark.parametrize("behind", ["record", "files"])
async def test_superseded_results_stay_for_as_long_as_a_download_takes(
    stand: Stand, behind: str
) -> None:
    """However long ago they were written, and whichever of the two clocks is behind."""
    await stand.ports.results.put(result_blob(key(1), "r0001-a", "annotated.mp4"), b"x")
    stand.clock.step(1000 * HOUR_S)
    recounted = stand.clock()
    if behind == "files":
        await stand.ports.results.put(result_blob(key(1), "r0002-b", "results.json"), b"x")
        stand.clock.step(HOUR_S)
    else:
        stand.clock.step(HOUR_S)
        await stand.ports.results.put(result_blob(key(1), "r0002-b", "results.json"), b"x")
    later = stand.clock() if behind == "files" else recounted
    await stand.add(
        key(1), state="completed", attempt=2, result_revision="r0002-b", updated_at_utc=later
    )
    stand.clock.step(READ_LIFE.total_seconds() - 1)
    assert await stand.orphans.run() == Cleared()
    stand.clock.step(1)
    assert await stand.orphans.run() == Cleared(unpublished=1)
    assert await stand.blobs() == [result_blob(key(1), "r0002-b", "results.json")]


@pytest.mark.parametrize("state", ["queued", "assembling", "rendering"])
async def test_while_a_recount_runs_no_revision_goes(stand: Stand, state: str) -> None:
    for revision in ("r0001-a", "r0002-b", "r0003-c"):
        await stand.ports.results.put(result_blob(key(1), revision, "results.json"), b"x")
    await stand.add(key(1), state=state, attempt=3, result_revision="r0002-b")
    stand.clock.step(1000 * HOUR_S)
    assert await stand.orphans.run() == Cleared()


async def test_results_are_not_superseded_by_ones_that_are_gone(stand: Stand) -> None:
    """A database that was set back may name a revision that is no longer there."""
    await stand.ports.results.put(result_blob(key(1), "r0001-a", "results.json"), b"x")
    await stand.ports.results.put(result_blob(key(1), "r0003-c", "results.json"), b"x")
    await stand.add(key(1), state="completed", attempt=2, result_revision="r0002-b")
    stand.clock.step(1000 * HOUR_S)
    assert await stand.orphans.run() == Cleared()
    assert len(await stand.blobs()) == 2


async def test_a_late_worker_s_results_go_too(stand: Stand) -> None:
    await stand.add(key(1), state="completed", result_revision="r0001-a")
    await stand.ports.results.put(result_blob(key(1), "r0001-a", "results.json"), b"x")
    stand.clock.step(HOUR_S)
    assert await stand.orphans.run() == Cleared()
    await stand.ports.results.put(result_blob(key(1), "r0001-late", "results.json"), b"x")
    stand.clock.step(HOUR_S)
    assert await stand.orphans.run() == Cleared(unpublished=1)
