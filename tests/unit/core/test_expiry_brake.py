"""The first expiry under a new retention value waits where it would delete much."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core.domain.housekeeping import ExpiringResults, HousekeepingRules
from core.services.attempts.dispatch import Dispatcher
from core.services.housekeeping.expiry_brake import held_expiry
from core.services.housekeeping.keeper import Housekeeping, Report
from tests.support.api_stand import SteppedClock, make_job, make_ports

DAY_S = 24 * 3600.0


class Stand:
    """Jobs of several ages."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.ports = make_ports(self.clock)
        self._number = 0

    async def add(self, count: int, *, state: str = "completed") -> None:
        for _ in range(count):
            self._number += 1
            await self.ports.jobs.add(make_job(f"{self._number:032x}", self.clock(), state=state))

    async def run(
        self, days: float | None, *, results: ExpiringResults = "persons", confirmed: bool = False
    ) -> Report:
        keep = None if days is None else timedelta(days=days)
        rules = HousekeepingRules(
            timedelta(days=999), timedelta(hours=1), timedelta(hours=1), keep, results
        )
        work = Housekeeping(
            self.ports, Dispatcher(self.ports), self.clock, rules, confirmed=confirmed
        )
        return await work.run(everything=True)


@pytest.fixture
def stand() -> Stand:
    return Stand()


async def test_a_new_value_that_hits_much_waits_a_day_and_then_goes_on(stand: Stand) -> None:
    await stand.add(30)
    stand.clock.step(8 * DAY_S)
    await stand.add(70)
    assert (await stand.run(30)).held is False, "nothing is due, so the value is taken"
    began = stand.clock()
    for _ in range(3):
        report = await stand.run(7)
        assert (report.expired, report.held) == (0, True)
    held = await held_expiry(stand.ports)
    assert held is not None and (held.due, held.kept, held.goes_on_at_utc) == (
        30,
        100,
        began + timedelta(days=1),
    )
    assert "30 of 100 jobs" in held.sentence and "sweep --yes" in held.sentence
    stand.clock.step(DAY_S - 1)
    assert (await stand.run(7)).expired == 0
    stand.clock.step(1)
    assert (await stand.run(7)).expired == 30
    assert await held_expiry(stand.ports) is None
    stand.clock.step(8 * DAY_S)
    assert (await stand.run(7)).expired == 70, "the value is no longer new"


async def test_the_operator_s_word_ends_the_wait(stand: Stand) -> None:
    await stand.add(30)
    stand.clock.step(8 * DAY_S)
    assert (await stand.run(7)).held
    assert (await stand.run(7, confirmed=True)).expired == 30
    assert await held_expiry(stand.ports) is None


@pytest.mark.parametrize(
    ("due", "kept", "waits"),
    [(20, 20, False), (21, 21, True), (21, 419, True), (21, 420, False), (50, 1000, False)],
)
async def test_little_is_not_held(stand: Stand, due: int, kept: int, waits: bool) -> None:
    await stand.add(due)
    await stand.add(40, state="detecting")
    stand.clock.step(8 * DAY_S)
    await stand.add(kept - due)
    report = await stand.run(7)
    assert (report.held, report.expired) == (waits, 0 if waits else due)


async def test_another_value_waits_anew_and_going_back_costs_nothing(stand: Stand) -> None:
    await stand.run(30)
    await stand.add(30)
    stand.clock.step(8 * DAY_S)
    assert (await stand.run(7)).held
    stand.clock.step(DAY_S - 1)
    assert (await stand.run(6)).held
    stand.clock.step(DAY_S - 1)
    assert (await stand.run(6)).held, "a day from the value's own beginning"
    assert (await stand.run(30)).held is False
    assert await held_expiry(stand.ports) is None
    stand.clock.step(2)
    assert (await stand.run(6)).held


async def test_other_results_are_another_value(stand: Stand) -> None:
    await stand.run(7)
    await stand.add(30)
    stand.clock.step(8 * DAY_S)
    assert (await stand.run(7, results="all")).held
    assert (await stand.run(7)).expired == 30


async def test_a_retention_that_is_turned_on_again_is_new(stand: Stand) -> None:
    await stand.run(7)
    await stand.run(None)
    await stand.add(30)
    stand.clock.step(8 * DAY_S)
    assert (await stand.run(7)).held
    await stand.run(None)
    assert await held_expiry(stand.ports) is None, "turned off: nothing waits"
