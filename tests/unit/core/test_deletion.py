"""Deletions are announced before anything is deleted, and whoever comes later finishes what was
announced.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from core.domain.blobs import log_blob, result_blob, source_blob, telemetry_blob
from core.errors import NotFound
from core.ports import Ports
from core.services.housekeeping.delete import KEEP_TOMBSTONES, delete, finish_deletions
from core.services.housekeeping.retention import Retention
from tests.support.api_stand import SteppedClock, make_job, make_ports
from tests.support.interference import Calls, Killed, killed_at

JOB, OTHER = "a" * 32, "b" * 32


class Stand:
    """Two jobs with everything that a job owns."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.ports = make_ports(self.clock)

    async def fill(self, **fields: Any) -> None:
        for job_id in (JOB, OTHER):
            await self.ports.jobs.add(
                make_job(
                    job_id,
                    self.clock(),
                    **{"state": "completed", "result_revision": "r0001-a", **fields},
                )
            )
            for blob in (source_blob(job_id, 0), telemetry_blob(job_id, 0)):
                await self.ports.sources.put(blob, b"x")
            for blob in (log_blob(job_id, "k", 0), result_blob(job_id, "r0001-a", "results.json")):
                await self.ports.results.put(blob, b"x")

    async def blobs(self, job_id: str) -> list[str]:
        stores = (self.ports.sources, self.ports.results)
        return [info.name for store in stores async for info in store.list_blobs(f"jobs/{job_id}/")]

    async def is_there(self, job_id: str) -> bool:
        return bool(await self.ports.jobs.outlines([job_id]))


@pytest.fixture
def stand() -> Stand:
    return Stand()


async def delete_it(stand: Stand, ports: Ports) -> None:
    await delete(ports, stand.clock, JOB, owner=None)


async def expire_it(stand: Stand, ports: Ports) -> None:
    await Retention(ports, stand.clock, after=timedelta(days=1), results="all").run()


async def test_what_is_announced_is_finished_wherever_the_process_dies(stand: Stand) -> None:
    """Killed before and after every call of a deletion, and of an expiry that is turned off before
    anybody sweeps again.
    """
    for work, fields in ((delete_it, {}), (delete_it, {"state": "detecting"}), (expire_it, {})):
        calls = Calls()
        whole = Stand()
        await whole.fill(**fields)
        whole.clock.step(2 * 24 * 3600)
        await work(whole, calls.watch(whole.ports))
        assert len(calls.names) > 5
        for place in range(len(calls.names)):
            for after in (False, True):
                await _killed_and_finished(work, fields, place, after=after)


async def _killed_and_finished(
    work: Callable[[Stand, Ports], Awaitable[None]],
    fields: dict[str, Any],
    place: int,
    *,
    after: bool,
) -> None:
    stand, calls = Stand(), Calls()
    await stand.fill(**fields)
    stand.clock.step(2 * 24 * 3600)
    killed_at(calls, place, after=after)
    with pytest.raises(Killed):
        await work(stand, calls.watch(stand.ports))
    where = f"{calls.names[-1]}, {'after' if after else 'before'}"
    announced = [tombstone.job_id for tombstone in await stand.ports.ledger.unfinished(limit=9)]
    if JOB not in announced and JOB not in await stand.ports.ledger.tombstones([JOB]):
        job = await stand.ports.jobs.get(JOB)
        if job.expired_at_utc is None:
            assert len(await stand.blobs(JOB)) == 4, f"deleted without a word: {where}"
    await finish_deletions(stand.ports, stand.clock)
    assert await stand.ports.ledger.unfinished(limit=9) == []
    if JOB in announced:
        assert await stand.blobs(JOB) == [], where
        if work is delete_it:
            assert not await stand.is_there(JOB), where
        else:
            assert (await stand.ports.jobs.get(JOB)).expired_at_utc == stand.clock(), where
    if work is delete_it:
        assert (len(await stand.blobs(OTHER)), await stand.is_there(OTHER)) == (4, True)


async def test_the_same_request_goes_on_where_the_first_died(stand: Stand) -> None:
    await stand.fill()
    calls = Calls()
    killed_at(calls, 4, after=True)
    with pytest.raises(Killed):
        await delete(calls.watch(stand.ports), stand.clock, JOB, owner=None)
    await delete(stand.ports, stand.clock, JOB, owner=None)
    assert (await stand.blobs(JOB), await stand.is_there(JOB)) == ([], False)
    with pytest.raises(NotFound):
        await delete(stand.ports, stand.clock, JOB, owner=None)


async def test_another_owner_s_deletion_announces_nothing(stand: Stand) -> None:
    await stand.fill()
    with pytest.raises(NotFound):
        await delete(stand.ports, stand.clock, JOB, owner="a stranger")
    assert await stand.ports.ledger.unfinished(limit=9) == []


async def test_a_job_that_is_counted_again_keeps_its_results_until_that_has_ended(
    stand: Stand,
) -> None:
    await stand.fill()
    stand.clock.step(2 * 24 * 3600)
    calls = Calls()
    killed_at(calls, 3, after=True)
    with pytest.raises(Killed):
        await Retention(
            calls.watch(stand.ports), stand.clock, after=timedelta(days=1), results="all"
        ).run()
    assert calls.names[-1] == "ledger.bury"
    job = await stand.ports.jobs.get(JOB)
    await stand.ports.jobs.begin_attempt(
        JOB, expected_attempt=1, settings=job.settings, state="assembling", at=stand.clock()
    )
    assert (await finish_deletions(stand.ports, stand.clock), len(await stand.blobs(JOB))) == (0, 4)
    await stand.ports.jobs.update(
        JOB, attempt=2, expected=("assembling",), at=stand.clock(), changes={"state": "completed"}
    )
    assert (await finish_deletions(stand.ports, stand.clock), await stand.blobs(JOB)) == (1, [])


async def test_tombstones_are_forgotten_long_after_their_deletion(stand: Stand) -> None:
    await stand.fill()
    await delete(stand.ports, stand.clock, JOB, owner=None)
    stand.clock.step(KEEP_TOMBSTONES.total_seconds())
    await finish_deletions(stand.ports, stand.clock)
    assert list(await stand.ports.ledger.tombstones([JOB])) == [JOB]
    stand.clock.step(1)
    await finish_deletions(stand.ports, stand.clock)
    assert await stand.ports.ledger.tombstones([JOB]) == {}
