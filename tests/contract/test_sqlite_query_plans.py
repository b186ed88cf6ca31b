"""Every statement that the SQLite stores issue walks along an index: no table is read through,
nothing is sorted.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.adapters.sqlite import (
    SqliteCalibrationStore,
    SqliteDatabase,
    SqliteJobStore,
    SqliteStatsStore,
    SqliteWebhookStore,
    job_rows,
)
from core.domain.analysis import AnalysisSettings
from core.domain.job import ACTIVE
from core.ports import (
    CalibrationStore,
    JobFilter,
    JobStore,
    StatsFilter,
    StatsStore,
    WebhookStore,
    WorkerReport,
)
from tests.contract.databases import put_all
from tests.contract.job_examples import FULL, make_job
from tests.contract.test_calibration_store import make as make_calibration
from tests.contract.test_stats_store import make_record
from tests.contract.test_webhook_store import make as make_event

TIME = datetime(2026, 6, 1, tzinfo=UTC)


async def use_jobs(jobs: JobStore) -> None:
    await jobs.ping()
    await jobs.add(make_job())
    await jobs.add(FULL)
    await jobs.find_by_key("ranch", "key-1")
    await jobs.update(
        "a",
        attempt=1,
        expected=ACTIVE,
        at=TIME,
        changes={"state": "failed", "done_segments": (1,), "error": None, "plan": FULL.plan},
    )
    await jobs.begin_attempt(
        "a", expected_attempt=1, settings=AnalysisSettings(), state="detecting", at=TIME
    )
    await jobs.mark_segment_done("a", attempt=2, segment=0, at=TIME)
    await jobs.touch("a", attempt=2, at=TIME, rendered_frames=3)
    await jobs.step_started("a", attempt=2, step_key="plan", at=TIME)
    await jobs.step_ended("a", attempt=2, step_key="plan", failed=True, at=TIME)
    await jobs.stalled(heartbeat_before=TIME, limit=3)
    await jobs.outlines(["a", "full", "missing"])
    await jobs.unexpired(created_before=TIME, limit=3)
    await jobs.report_worker(WorkerReport("w", TIME, "cpu", False))
    await jobs.workers(since=TIME)
    await jobs.get("a")
    await jobs.delete("a")


def subsets(conditions: dict[str, Any]) -> list[dict[str, Any]]:
    names = itertools.chain.from_iterable(
        itertools.combinations(conditions, size) for size in range(len(conditions) + 1)
    )
    return [{name: conditions[name] for name in chosen} for chosen in names]


async def use_listings(jobs: JobStore, stats: StatsStore) -> None:
    for key in ("c", "d", "e"):
        await jobs.add(make_job(key))
        await stats.put(make_record(key))
    job_cursor = (await jobs.list_page(JobFilter(), limit=1)).next_cursor
    stats_cursor = (await stats.list_page(StatsFilter(), limit=1)).next_cursor
    of_jobs = {
        "owner": "o",
        "camera": "c",
        "states": ("queued", "failed"),
        "created_from_utc": TIME,
        "created_until_utc": TIME,
    }
    for conditions in subsets(of_jobs):
        await jobs.list_page(JobFilter(**conditions), limit=10)
        await jobs.list_page(JobFilter(**conditions), limit=10, cursor=job_cursor)
    for conditions in subsets(
        {
            "owner": "local",
            "camera": "c",
            "muster_class": "bison",
            "from_utc": TIME,
            "until_utc": TIME,
        }
    ):
        where = StatsFilter(**conditions)
        await stats.list_page(where, limit=10)
        await stats.list_page(where, limit=10, cursor=stats_cursor)
        await stats.latest(where)
        _ = [record async for record in stats.stream(where)]
        for muster_class in ("bison", "cattle"):
            await stats.timeseries(where, muster_class=muster_class, bucket="week")
    await stats.get("c")
    await stats.delete("c")


async def use_calibrations(store: CalibrationStore) -> None:
    await store.ping()
    await store.add(make_calibration())
    await store.put(make_calibration("south", seconds=1))
    await store.get("south", owner="local")
    for camera in (None, "gate"):
        cursor = (await store.list_page(owner="local", limit=1)).next_cursor
        await store.list_page(owner="local", camera=camera, limit=10, cursor=cursor)
        await store.list_page(owner="local", camera=camera, limit=10)
    await store.delete("south", owner="local")


async def use_webhooks(store: WebhookStore) -> None:
    await store.ping()
    event = await store.add(make_event())
    await store.replace(event)
    await store.of_job("job1")
    await store.waiting(before=event.created_at_utc, limit=10)
    await store.delete_job("job1")


async def fill(database: SqliteDatabase, stats: StatsStore) -> None:
    await put_all(stats, [make_record(f"job{i}") for i in range(500)])
    many = [
        FULL.model_copy(update={"id": f"job{i}", "idempotency_key": f"key-{i}"}) for i in range(500)
    ]
    await database.write(lambda connection: [job_rows.add(connection, job) for job in many])
    reports = [(f"worker{i}", i, "{}") for i in range(500)]
    await database.write(
        lambda connection: connection.executemany(
            "INSERT INTO workers (id, at_ms, report) VALUES (?, ?, ?)", reports
        )
    )


def plans(connection: sqlite3.Connection, statements: set[str]) -> dict[str, list[str]]:
    planned = [
        text
        for text in sorted(statements)
        if text.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "INSERT"))
    ]
    return {
        text: [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")]
        for text in planned
    }


def is_costly(step: str) -> bool:
    # "SCAN CONSTANT ROW" reads nothing; a sub-query's own steps are listed beneath it.
    return "TEMP B-TREE" in step or (re.match(r"SCAN (?!CONSTANT ROW)", step) is not None)


@pytest.mark.parametrize("analyzed", [False, True], ids=["as created", "after ANALYZE"])
async def test_no_statement_scans_or_sorts(tmp_path: Path, analyzed: bool) -> None:
    database = SqliteDatabase(tmp_path / "muster.sqlite3")
    jobs, stats, calibrations = (
        SqliteJobStore(database),
        SqliteStatsStore(database),
        SqliteCalibrationStore(database),
    )
    webhooks = SqliteWebhookStore(database)
    stores = (jobs, stats, calibrations, webhooks)
    for store in stores:
        await store.open()
    statements: set[str] = set()
    await database.read(lambda connection: connection.set_trace_callback(statements.add))
    await use_jobs(jobs)
    await use_listings(jobs, stats)
    await use_calibrations(calibrations)
    await use_webhooks(webhooks)
    await database.read(lambda connection: connection.set_trace_callback(None))
    if analyzed:
        # An operator may run ANALYZE: what the planner then knows of the tables must not lead it
        # astray.
        await fill(database, stats)
        await database.write(lambda connection: connection.execute("ANALYZE"))
        for store in stores:
            await store.close()
        for store in stores:
            await store.open()
    steps = await database.read(lambda connection: plans(connection, statements))
    for store in stores:
        await store.close()
    selects = [text for text in steps if text.startswith("SELECT")]
    assert len(selects) > 200
    costly = {
        text: bad
        for text, found in steps.items()
        if (bad := [step for step in found if is_costly(step)])
    }
    assert costly == {}
    # Two listings as examples of what the plans say.
    newest = next(
        found
        for text, found in steps.items()
        if "WHERE owner = 'o' AND camera = 'c' AND state = 'queued'" in text
    )
    assert newest[0].startswith(
        "SEARCH jobs USING INDEX jobs_owner_camera_state (owner=? AND camera=? AND state=? AND "
    )
    series = next(
        found
        for text, found in steps.items()
        if text.startswith("SELECT COUNT(*)") and "class = 'bison' AND owner" in text
    )
    assert series[0].startswith("SEARCH outermost USING COVERING INDEX class_stats_owner")
