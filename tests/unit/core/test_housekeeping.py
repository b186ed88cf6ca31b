"""One sweep does all that is to be put right, and says what it did."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core.domain.blobs import log_blob, source_blob
from core.domain.housekeeping import HousekeepingRules
from core.domain.identity import Tombstone
from core.errors import Unavailable
from core.services.attempts.dispatch import Dispatcher
from core.services.housekeeping.keeper import Housekeeping, Report
from core.services.housekeeping.unclaimed import noted_unclaimed
from tests.support.api_stand import SteppedClock, make_job, make_ports

RULES = HousekeepingRules(
    visibility=timedelta(days=999), least_age=timedelta(hours=1), upload_life=timedelta(hours=1)
)


async def test_a_sweep_finishes_what_was_announced() -> None:
    clock = SteppedClock()
    ports = make_ports(clock)
    for number in range(3):
        job_id = f"{number:032x}"
        await ports.jobs.add(make_job(job_id, clock(), state="completed"))
        await ports.sources.put(source_blob(job_id, 0), b"x")
        await ports.ledger.bury(Tombstone(job_id=job_id, reason="deleted", written_at_utc=clock()))
    report = await Housekeeping(ports, Dispatcher(ports), clock, RULES).run(everything=True)
    assert report == Report(finished=3)
    assert [info.name async for info in ports.sources.list_blobs("")] == []
    assert await ports.jobs.outlines([f"{number:032x}" for number in range(3)]) == {}


async def test_one_part_that_fails_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SteppedClock()
    ports = make_ports(clock)
    await ports.results.put(log_blob("f" * 32, "k", 0), b"x")
    clock.step(7200)

    async def away(**options: object) -> None:
        raise Unavailable("The database does not answer.")

    monkeypatch.setattr(ports.ledger, "unfinished", away)
    with pytest.raises(Unavailable):
        await Housekeeping(ports, Dispatcher(ports), clock, RULES).run()
    assert (await noted_unclaimed(ports.ledger))["blobs"] == 1
