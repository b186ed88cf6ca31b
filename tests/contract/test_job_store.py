"""What every job store promises of records: in memory, on SQLite, on a MongoDB-protocol server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.domain.analysis import AnalysisSettings, parse_settings
from core.domain.job import ACTIVE, TERMINAL, Job
from core.errors import Conflict, InvalidSettings, NotFound
from core.ports import JobFilter, JobStore
from tests.contract.databases import KINDS
from tests.contract.job_examples import (
    FULL,
    START,
    at,
    keys,
    make_job,
    opened_job_store,
)


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[JobStore]:
    async with opened_job_store(request) as opened:
        yield opened


@pytest.mark.parametrize("job", [make_job(), FULL], ids=["fresh", "full"])
async def test_a_job_comes_back_as_it_was(store: JobStore, job: Job) -> None:
    assert await store.add(job) == job
    assert await store.get(job.id) == job
    assert (await store.list_page(JobFilter(), limit=1)).items == [job]


OF_BEFORE: list[tuple[str, Any]] = [
    ("expected", 1_000_001),
    ("expected", 2**63 - 1),
    ("expected", -(2**63)),
    ("expected", {"bison": 2**40}),
    ("counted", [{"frame": 2**63 - 1, "counts": {"bison": 2**40}}]),
    ("camera", "north\x85gate\u202e"),
    (
        "zones",
        [
            {
                "name": "trough\u200b",
                "polygon": [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]],
                "mode": "count",
            }
        ],
    ),
    ("lines", [{"name": "gate\u2028", "start": [0.0, 0.0], "end": [1.0, 1.0]}]),
]
"""What earlier releases took and stored; this one refuses or cleans it when it is typed."""


@pytest.mark.parametrize(("name", "value"), OF_BEFORE, ids=lambda value: ascii(value)[:40])
async def test_a_record_of_before_a_limit_is_read_listed_and_changed_as_it_is(
    store: JobStore, name: str, value: Any
) -> None:
    given = await store.add(make_job(settings=AnalysisSettings.model_validate({name: value})))
    assert given.settings.model_dump(mode="json")[name] == value
    assert await store.get(given.id) == given
    assert (await store.list_page(JobFilter(), limit=1)).items == [given]
    failed = await store.update(
        given.id, attempt=1, expected=ACTIVE, at=at(1), changes={"state": "failed"}
    )
    assert (failed.state, failed.settings) == ("failed", given.settings)
    try:
        assert parse_settings({name: value}).model_dump(mode="json")[name] != value, (
            "typed, it is cleaned"
        )
    except InvalidSettings as refused:
        assert name in refused.message


async def test_opening_again_and_ping_are_harmless(store: JobStore) -> None:
    await store.add(make_job())
    await asyncio.gather(store.open(), store.open())
    await store.ping()
    assert await keys(store) == ["a"]


async def test_an_unknown_job_is_not_found(store: JobStore) -> None:
    calls = [
        store.get("x"),
        store.update("x", attempt=1, expected=ACTIVE, at=START, changes={"state": "failed"}),
        store.begin_attempt(
            "x", expected_attempt=1, settings=AnalysisSettings(), state="assembling", at=START
        ),
        store.mark_segment_done("x", attempt=1, segment=0, at=START),
        store.touch("x", attempt=1, at=START),
        store.step_started("x", attempt=1, step_key="plan", at=START),
        store.step_ended("x", attempt=1, step_key="plan", failed=True, at=START),
        store.step_released("x", attempt=1, step_key="plan", at=START),
    ]
    for call in calls:
        with pytest.raises(NotFound) as caught:
            await call
        assert caught.value.code == "job_not_found"


async def test_another_owners_job_is_missing_in_the_same_words(store: JobStore) -> None:
    given = await store.add(make_job(owner="ranch"))
    assert await store.get("a", owner="ranch") == given
    told = []
    for name in ("a", "x"):
        with pytest.raises(NotFound) as caught:
            await store.get(name, owner="park")
        told.append(
            (
                caught.value.code,
                caught.value.message.replace(f"'{name}'", "ID"),
                caught.value.details,
            )
        )
    assert told[0] == told[1]


async def test_an_owners_jobs_that_have_not_ended_are_counted(store: JobStore) -> None:
    for number, state in enumerate((*ACTIVE, *TERMINAL)):
        await store.add(make_job(f"j{number}", owner="ranch"))
        await store.update(
            f"j{number}", attempt=1, expected=("queued",), at=at(1), changes={"state": state}
        )
    await store.add(make_job("theirs", owner="park"))
    assert [await store.count_active(owner) for owner in ("ranch", "park", "nobody")] == [
        len(ACTIVE),
        1,
        0,
    ]


async def test_an_id_is_taken_once(store: JobStore) -> None:
    await store.add(make_job(owner="first"))
    with pytest.raises(Conflict) as caught:
        await store.add(make_job(owner="second", idempotency_key="k"))
    assert caught.value.code == "job_exists"
    assert (await store.get("a")).owner == "first"


async def test_the_same_idempotency_key_gives_the_first_job(store: JobStore) -> None:
    first = await store.add(make_job("a", idempotency_key="k"))
    assert await store.add(make_job("b", idempotency_key="k", seconds=5)) == first
    assert await store.add(make_job("a", idempotency_key="k")) == first
    assert await keys(store) == ["a"]
    assert (await store.add(make_job("c", owner="another", idempotency_key="k"))).id == "c"
    assert {(await store.add(make_job(key))).id for key in ("d", "e")} == {"d", "e"}
    assert await store.find_by_key("local", "k") == first
    assert await store.find_by_key("local", "other") is None
    assert await store.find_by_key("nobody", "k") is None


async def test_one_key_used_by_many_at_once_gives_one_job(store: JobStore) -> None:
    jobs = await asyncio.gather(
        *(store.add(make_job(f"job{i}", idempotency_key="k")) for i in range(20))
    )
    assert len({job.id for job in jobs}) == 1
    assert await keys(store) == [jobs[0].id]


async def test_delete_takes_everything_of_a_job(store: JobStore) -> None:
    await store.add(FULL)
    assert await store.delete("full") is True
    assert await store.delete("full") is False
    with pytest.raises(NotFound):
        await store.get("full")
    again = make_job("full", owner="ranch", idempotency_key="key-1")
    assert await store.add(again) == again
