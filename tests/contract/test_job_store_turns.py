"""What every job store promises of turns: which of an owner's jobs are active, and that no segment
is handed out twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from core.adapters.mongo import MongoJobStore
from core.adapters.sqlite import SqliteJobStore
from core.domain.job import ACTIVE, TERMINAL
from core.errors import FenceLost, NotFound
from core.ports import JobStore, JobTurn
from tests.contract.databases import KINDS, opened_stores
from tests.contract.job_examples import WAITING, at, make_job, make_plan
from tests.fakes import MemoryJobStore


@pytest.fixture(params=KINDS)
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[tuple[JobStore, JobStore]]:
    """Two stores on the same data, as two processes have them; in memory they are one."""
    async with opened_stores(request, MemoryJobStore, SqliteJobStore, MongoJobStore, count=2) as (
        first,
        second,
    ):
        yield first, second


@pytest.fixture
def store(stores: tuple[JobStore, JobStore]) -> JobStore:
    return stores[0]


async def detecting(
    store: JobStore, segments: int, *, done: tuple[int, ...] = (), sent_until: int | None = 0
) -> None:
    await store.add(make_job(owner="ranch", traceparent="trace"))
    changes = {
        "state": "detecting",
        "plan": make_plan(segments),
        "done_segments": done,
        "sent_until": sent_until,
    }
    job = await store.update("a", attempt=1, expected=("queued",), at=at(1), changes=changes)
    assert job.sent_until == sent_until


async def turn(store: JobStore) -> JobTurn:
    (only,) = await store.turns("ranch")
    return only


async def test_active_jobs_of_an_owner_come_oldest_first(store: JobStore) -> None:
    for number, state in enumerate((*TERMINAL, *ACTIVE)):
        await store.add(make_job(f"j{number}", seconds=-number, owner="ranch"))
        await store.update(
            f"j{number}",
            attempt=1,
            expected=("queued",),
            at=at(1),
            changes={"state": state, "waiting": WAITING},
        )
    await store.add(make_job("theirs", owner="park"))
    expected = [(f"j{number}", ACTIVE[number - 3], WAITING.code) for number in range(7, 2, -1)]
    assert [(one.id, one.state, one.waiting) for one in await store.turns("ranch")] == expected
    assert await store.turns("park") == [JobTurn(id="theirs", state="queued", attempt=1)]
    assert await store.turns("nobody") == []


async def test_segments_are_handed_out_in_order_and_those_that_are_done_are_not(
    store: JobStore,
) -> None:
    await detecting(store, 9, done=(0, 3, 8))
    assert await turn(store) == JobTurn(
        id="a", state="detecting", attempt=1, handed_out=0, has_more=True, traceparent="trace"
    )
    assert await store.hand_out("a", attempt=1, most=0) == []
    assert await store.hand_out("a", attempt=1, most=3) == [1, 2, 4]
    assert (await store.get("a")).sent_until == 5
    assert (await store.get("a")).handed_out == (1, 2, 4)
    assert ((await turn(store)).handed_out, (await turn(store)).has_more) == (3, True)
    await store.mark_segment_done("a", attempt=1, segment=2, at=at(2))
    await store.mark_segment_done("a", attempt=1, segment=6, at=at(2))
    assert ((await turn(store)).handed_out, (await turn(store)).has_more) == (2, True)
    assert await store.hand_out("a", attempt=1, most=10) == [5, 7]
    assert ((await turn(store)).handed_out, (await turn(store)).has_more) == (4, False)
    assert await store.hand_out("a", attempt=1, most=10) == []


async def test_no_segment_is_handed_out_twice_however_many_ask_at_once(
    stores: tuple[JobStore, JobStore],
) -> None:
    await detecting(stores[0], 40)
    handed = await asyncio.gather(
        *(stores[number % 2].hand_out("a", attempt=1, most=3) for number in range(16))
    )
    assert sorted(index for indices in handed for index in indices) == list(range(40))


async def test_a_job_of_a_release_without_turns_has_handed_out_everything(store: JobStore) -> None:
    await detecting(store, 5, done=(1,), sent_until=None)
    assert await store.hand_out("a", attempt=1, most=3) == []
    assert ((await turn(store)).handed_out, (await turn(store)).has_more) == (4, False)
    assert (await store.get("a")).handed_out == (0, 2, 3, 4)


async def test_only_the_present_attempt_hands_out_and_only_while_it_detects(
    store: JobStore,
) -> None:
    await detecting(store, 3)
    for attempt in (0, 2):
        with pytest.raises(FenceLost):
            await store.hand_out("a", attempt=attempt, most=1)
    await store.update(
        "a", attempt=1, expected=("detecting",), at=at(2), changes={"state": "cancelled"}
    )
    with pytest.raises(FenceLost) as caught:
        await store.hand_out("a", attempt=1, most=1)
    assert caught.value.details == {"state": "cancelled", "attempt": 1}
    with pytest.raises(NotFound):
        await store.hand_out("x", attempt=1, most=1)
    assert (await store.get("a")).sent_until == 0
