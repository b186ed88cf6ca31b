"""Jobs in SQLite."""

from __future__ import annotations

import heapq
import itertools
import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from typing import Any

from core.adapters.shared import listing
from core.adapters.shared.job_records import (
    KEEP_REPORTS,
    checked_changes,
    fence_lost,
    job_exists,
    next_segments,
    plain,
    report_from_plain,
    report_to_plain,
    turn_of,
)
from core.adapters.sqlite.store import SqliteStore
from core.domain.analysis import AnalysisSettings
from core.domain.job import ACTIVE, TERMINAL, Job, JobState
from core.domain.refusals import no_such_job
from core.ports import JobFilter, JobOutline, JobStore, JobTurn, Page, WorkerReport

_TIMES = ("created", "updated", "heartbeat")
_COLUMNS = ("id", "owner", "state", "attempt", "idempotency_key", "rendered_frames")
_ROW_ONLY = {
    *_COLUMNS,
    "step_starts",
    "step_failures",
    "plan",
    "done_segments",
    *(f"{name}_at_utc" for name in _TIMES),
}
_IDS_AT_ONCE = 500
# Only where they are asked for: the plan of a long recording is large.
_SEGMENTS = "CASE state WHEN 'detecting' THEN (SELECT json_array_length(plan, '$.segments') FROM job_plans WHERE job_plans.job_id = id) END"
_DONE = "CASE state WHEN 'detecting' THEN (SELECT json_group_array(segment) FROM done_segments WHERE done_segments.job_id = id) END"
# LEFT JOINs fix the order of the tables: the walk along an index of `jobs` is the outer loop.
_SELECT = f"""SELECT {", ".join(f"jobs.{name}" for name in _COLUMNS)}, {", ".join(f"{name}_ms" for name in _TIMES)},
    step_starts, step_failures, document, plan, (SELECT json_group_array(segment) FROM done_segments WHERE job_id = jobs.id)
    FROM jobs LEFT JOIN job_documents ON job_documents.job_id = jobs.id LEFT JOIN job_plans ON job_plans.job_id = jobs.id"""


class SqliteJobStore(SqliteStore, JobStore):
    """Keeps jobs in tables of an SQLite file.

    Args:
        database: The file; it may be shared with other stores.
    """

    PING = "SELECT id FROM jobs WHERE id = ''"

    async def add(self, job: Job) -> Job:
        return await self._database.write(lambda connection: _add(connection, job))

    async def get(self, job_id: str, *, owner: str | None = None) -> Job:
        return await self._database.read(lambda connection: _load(connection, job_id, owner))

    async def count_active(self, owner: str) -> int:
        # By state, not by `active`: there is an index on (owner, state).
        query = f"SELECT COUNT(*) FROM jobs WHERE owner = ? AND state IN ({', '.join('?' * len(ACTIVE))})"
        return await self._database.read(
            lambda connection: connection.execute(query, (owner, *ACTIVE)).fetchone()[0]
        )

    async def find_by_key(self, owner: str, idempotency_key: str) -> Job | None:
        return await self._database.read(
            lambda connection: _find(connection, owner, idempotency_key)
        )

    async def list_page(
        self, where: JobFilter, *, limit: int, cursor: str | None = None
    ) -> Page[Job]:
        listing.check_limit(limit)
        span = listing.span(
            since=where.created_from_utc, until=where.created_until_utc, cursor=cursor
        )
        jobs = await self._database.read(
            lambda connection: list(
                itertools.islice(_newest(connection, where, span, limit + 1), limit + 1)
            )
        )
        more = len(jobs) > limit
        jobs = jobs[:limit]
        return Page(jobs, listing.encode_cursor(_position(jobs[-1])) if more else None)

    async def update(
        self,
        job_id: str,
        *,
        attempt: int,
        expected: Iterable[JobState],
        at: datetime,
        changes: dict[str, Any],
    ) -> Job:
        values, states = checked_changes(changes), tuple(expected)

        def change(connection: sqlite3.Connection) -> None:
            _touch(connection, job_id, at, everything=True)
            _set(connection, job_id, values)

        return await self._fenced(job_id, attempt, states, change)

    async def begin_attempt(
        self,
        job_id: str,
        *,
        expected_attempt: int,
        settings: AnalysisSettings,
        state: JobState,
        at: datetime,
    ) -> Job:
        fresh: dict[str, Any] = {
            "error": None,
            "waiting": None,
            "step_failures": {},
            "step_starts": {},
            "rendered_frames": 0,
        }
        fresh["expired_at_utc"] = None
        values = checked_changes({"settings": settings, "state": state, **fresh})

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE jobs SET attempt = attempt + 1 WHERE id = ?", (job_id,))
            _touch(connection, job_id, at, everything=True)
            _set(connection, job_id, values)

        return await self._fenced(job_id, expected_attempt, TERMINAL, change)

    async def mark_segment_done(
        self, job_id: str, *, attempt: int, segment: int, at: datetime
    ) -> Job:
        def change(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR IGNORE INTO done_segments VALUES (?, ?)", (job_id, segment)
            )
            _touch(connection, job_id, at, everything=True)

        return await self._fenced(job_id, attempt, ACTIVE, change)

    async def turns(self, owner: str) -> list[JobTurn]:
        query = f"""SELECT id, state, attempt, json_extract(document, '$.waiting.code'), json_extract(document, '$.traceparent'),
            json_extract(document, '$.sent_until'), {_SEGMENTS}, {_DONE} FROM jobs LEFT JOIN job_documents ON job_id = id
            WHERE owner = ? AND state IN ({", ".join("?" * len(ACTIVE))}) ORDER BY created_ms, id"""

        def work(connection: sqlite3.Connection) -> list[JobTurn]:
            return [
                turn_of(
                    segments or 0,
                    json.loads(done or "[]"),
                    sent_until,
                    id=job_id,
                    state=state,
                    attempt=attempt,
                    waiting=waiting,
                    traceparent=traceparent,
                )
                for job_id, state, attempt, waiting, traceparent, sent_until, segments, done in connection.execute(
                    query, (owner, *ACTIVE)
                )
            ]

        return await self._database.read(work)

    async def hand_out(self, job_id: str, *, attempt: int, most: int) -> list[int]:
        query = f"""SELECT json_extract(document, '$.sent_until'), {_SEGMENTS}, {_DONE} FROM jobs
            LEFT JOIN job_documents ON job_id = id WHERE id = ?"""

        def work(connection: sqlite3.Connection) -> list[int]:
            _check_fence(connection, job_id, attempt, ("detecting",))
            sent_until, segments, done = connection.execute(query, (job_id,)).fetchone()
            handed = next_segments(segments or 0, json.loads(done or "[]"), sent_until, most)
            if handed:
                _set(connection, job_id, {"sent_until": handed[-1] + 1})
            return handed

        return await self._database.write(work)

    async def touch(
        self, job_id: str, *, attempt: int, at: datetime, rendered_frames: int | None = None
    ) -> Job:
        def change(connection: sqlite3.Connection) -> None:
            _touch(connection, job_id, at)
            if rendered_frames is not None:
                connection.execute(
                    "UPDATE jobs SET rendered_frames = ? WHERE id = ?", (rendered_frames, job_id)
                )

        return await self._fenced(job_id, attempt, None, change)

    async def step_started(self, job_id: str, *, attempt: int, step_key: str, at: datetime) -> int:
        def work(connection: sqlite3.Connection) -> int:
            _check_fence(connection, job_id, attempt, None)
            starts, failures = _steps(connection, job_id)
            starts[step_key] = starts.get(step_key, 0) + 1
            _set(connection, job_id, {"step_starts": starts, "step_failures": failures})
            _touch(connection, job_id, at)
            return starts[step_key]

        return await self._database.write(work)

    async def step_ended(
        self, job_id: str, *, attempt: int, step_key: str, failed: bool, at: datetime
    ) -> int:
        def work(connection: sqlite3.Connection) -> int:
            _check_fence(connection, job_id, attempt, None)
            starts, failures = _steps(connection, job_id)
            starts.pop(step_key, None)
            before = failures.pop(step_key, 0)
            if failed:
                failures[step_key] = before + 1
            _set(connection, job_id, {"step_starts": starts, "step_failures": failures})
            _touch(connection, job_id, at)
            return failures.get(step_key, 0)

        return await self._database.write(work)

    async def step_released(
        self, job_id: str, *, attempt: int, step_key: str, at: datetime
    ) -> None:
        def work(connection: sqlite3.Connection) -> None:
            _check_fence(connection, job_id, attempt, None)
            starts, _ = _steps(connection, job_id)
            left = starts.pop(step_key, 0) - 1
            _set(
                connection, job_id, {"step_starts": starts | ({step_key: left} if left > 0 else {})}
            )
            _touch(connection, job_id, at)

        await self._database.write(work)

    async def stalled(self, *, heartbeat_before: datetime, limit: int) -> list[Job]:
        query = f"{_SELECT} WHERE active = 1 AND heartbeat_ms < ? ORDER BY heartbeat_ms, jobs.id LIMIT ?"
        values = (listing.bound_ms(heartbeat_before), limit)
        return await self._database.read(
            lambda connection: [_job(row) for row in connection.execute(query, values)]
        )

    async def outlines(self, job_ids: Collection[str]) -> dict[str, JobOutline]:
        ids = tuple(job_ids)

        def work(connection: sqlite3.Connection) -> dict[str, JobOutline]:
            found: dict[str, JobOutline] = {}
            for start in range(0, len(ids), _IDS_AT_ONCE):
                some = ids[start : start + _IDS_AT_ONCE]
                query = f"""SELECT updated_ms, id, state, attempt, json_extract(document, '$.result_revision') FROM jobs
                    LEFT JOIN job_documents ON job_id = id WHERE id IN ({", ".join("?" * len(some))})"""
                rows = connection.execute(query, some)
                found |= {
                    job_id: JobOutline(state, attempt, revision, listing.from_ms(updated_ms))
                    for updated_ms, job_id, state, attempt, revision in rows
                }
            return found

        return await self._database.read(work)

    async def unexpired(self, *, created_before: datetime, limit: int) -> list[Job]:
        query = f"{_SELECT} WHERE active = 0 AND expired = 0 AND created_ms < ? ORDER BY created_ms, jobs.id LIMIT ?"
        values = (listing.bound_ms(created_before), limit)
        return await self._database.read(
            lambda connection: [_job(row) for row in connection.execute(query, values)]
        )

    async def count_unexpired(self, *, created_before: datetime | None = None) -> int:
        query = "SELECT COUNT(*) FROM jobs WHERE active = 0 AND expired = 0 AND created_ms < ?"
        values = (
            listing.MAX_MS + 1 if created_before is None else listing.bound_ms(created_before),
        )
        return await self._database.read(
            lambda connection: connection.execute(query, values).fetchone()[0]
        )

    async def delete(self, job_id: str) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            for table in ("job_documents", "job_plans", "done_segments"):
                connection.execute(f"DELETE FROM {table} WHERE job_id = ?", (job_id,))
            return connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,)).rowcount > 0

        return await self._database.write(work)

    async def report_worker(self, report: WorkerReport) -> None:
        row = (report.worker_id, listing.to_ms(report.at_utc), json.dumps(report_to_plain(report)))

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO workers (id, at_ms, report) VALUES (?, ?, ?)", row
            )
            connection.execute(
                "DELETE FROM workers WHERE at_ms < ?",
                (listing.bound_ms(report.at_utc - KEEP_REPORTS),),
            )

        await self._database.write(work)

    async def workers(self, *, since: datetime) -> list[WorkerReport]:
        def work(connection: sqlite3.Connection) -> list[WorkerReport]:
            rows = connection.execute(
                "SELECT report, at_ms FROM workers WHERE at_ms >= ?", (listing.bound_ms(since),)
            )
            return [
                report_from_plain(json.loads(text), at=listing.from_ms(at_ms))
                for text, at_ms in rows
            ]

        return sorted(await self._database.read(work), key=lambda report: report.worker_id)

    async def _fenced(
        self,
        job_id: str,
        attempt: int,
        states: tuple[JobState, ...] | None,
        change: Callable[[sqlite3.Connection], None],
    ) -> Job:
        def work(connection: sqlite3.Connection) -> Job:
            _check_fence(connection, job_id, attempt, states)
            change(connection)
            return _load(connection, job_id)

        return await self._database.write(work)


def _position(job: Job) -> listing.Position:
    return listing.Position(listing.to_ms(job.created_at_utc), job.id)


def _job(row: tuple[Any, ...]) -> Job:
    columns, rest = row[: len(_COLUMNS)], row[len(_COLUMNS) :]
    times = {
        f"{name}_at_utc": listing.from_ms(value) for name, value in zip(_TIMES, rest, strict=False)
    }
    starts, failures, document, plan, done = rest[len(_TIMES) :]
    return Job.model_validate(
        {
            **json.loads(document),
            **dict(zip(_COLUMNS, columns, strict=True)),
            **times,
            "step_starts": json.loads(starts),
            "step_failures": json.loads(failures),
            "plan": None if plan is None else json.loads(plan),
            "done_segments": sorted(json.loads(done)),
        }
    )


def _load(connection: sqlite3.Connection, job_id: str, owner: str | None = None) -> Job:
    condition, values = ("", (job_id,)) if owner is None else (" AND owner = ?", (job_id, owner))
    row = connection.execute(f"{_SELECT} WHERE jobs.id = ?{condition}", values).fetchone()
    if row is None:
        raise no_such_job(job_id)
    return _job(row)


def _find(connection: sqlite3.Connection, owner: str, idempotency_key: str) -> Job | None:
    row = connection.execute(
        f"{_SELECT} WHERE owner = ? AND idempotency_key = ?", (owner, idempotency_key)
    ).fetchone()
    return None if row is None else _job(row)


def _newest(
    connection: sqlite3.Connection, where: JobFilter, span: listing.Span, limit: int
) -> Iterator[Job]:
    # One walk for each state, merged: an index on (state, time) holds the jobs of one state in order, not those of several.
    states: list[JobState | None] = [*sorted(set(where.states))] or [None]
    walks = [_walk(connection, where, state, span, limit) for state in states]
    return heapq.merge(*walks, key=_position, reverse=True)


def _walk(
    connection: sqlite3.Connection,
    where: JobFilter,
    state: JobState | None,
    span: listing.Span,
    limit: int,
) -> Iterator[Job]:
    given = {"owner": where.owner, "camera": where.camera, "state": state}
    equal = {name: value for name, value in given.items() if value is not None}
    conditions = [f"{name} = ?" for name in equal] + [
        "created_ms >= ?",
        "(created_ms, jobs.id) < (?, ?)",
    ]
    query = (
        f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY created_ms DESC, jobs.id DESC LIMIT ?"
    )
    return map(
        _job, connection.execute(query, (*equal.values(), span.since_ms, *span.before, limit))
    )


def _add(connection: sqlite3.Connection, job: Job) -> Job:
    if job.idempotency_key is not None:
        known = _find(connection, job.owner, job.idempotency_key)
        if known is not None:
            return known
    if connection.execute("SELECT 1 FROM jobs WHERE id = ?", (job.id,)).fetchone():
        raise job_exists(job.id)
    times = [
        listing.to_ms(time)
        for time in (job.created_at_utc, job.updated_at_utc, job.heartbeat_at_utc)
    ]
    connection.execute(
        """INSERT INTO jobs (id, owner, state, active, attempt, idempotency_key, rendered_frames, step_starts, step_failures,
        created_ms, updated_ms, heartbeat_ms) VALUES (?, ?, ?, 1, ?, ?, 0, '{}', '{}', ?, ?, ?)""",
        (job.id, job.owner, job.state, job.attempt, job.idempotency_key, *times),
    )
    connection.execute("INSERT INTO job_documents (job_id, document) VALUES (?, '{}')", (job.id,))
    values = plain(job)
    fixed = {*_COLUMNS, *(f"{name}_at_utc" for name in _TIMES)} - {"state", "rendered_frames"}
    _set(connection, job.id, {name: value for name, value in values.items() if name not in fixed})
    return _load(connection, job.id)


def _check_fence(
    connection: sqlite3.Connection, job_id: str, attempt: int, states: tuple[JobState, ...] | None
) -> None:
    row = connection.execute("SELECT attempt, state FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise no_such_job(job_id)
    if row[0] != attempt or (states is not None and row[1] not in states):
        raise fence_lost(job_id, state=row[1], attempt=row[0])


def _touch(
    connection: sqlite3.Connection, job_id: str, at: datetime, *, everything: bool = False
) -> None:
    at_ms = listing.to_ms(at)
    connection.execute("UPDATE jobs SET heartbeat_ms = ? WHERE id = ?", (at_ms, job_id))
    if everything:
        connection.execute("UPDATE jobs SET updated_ms = ? WHERE id = ?", (at_ms, job_id))


def _steps(connection: sqlite3.Connection, job_id: str) -> tuple[dict[str, int], dict[str, int]]:
    starts, failures = connection.execute(
        "SELECT step_starts, step_failures FROM jobs WHERE id = ?", (job_id,)
    ).fetchone()
    return json.loads(starts), json.loads(failures)


def _set(connection: sqlite3.Connection, job_id: str, values: dict[str, Any]) -> None:
    """Write fields, given as JSON values, to wherever they are kept."""
    columns: dict[str, Any] = {
        name: json.dumps(values[name])
        for name in ("step_starts", "step_failures")
        if name in values
    }
    if "rendered_frames" in values:
        columns["rendered_frames"] = values["rendered_frames"]
    if "state" in values:
        columns |= {"state": values["state"], "active": int(values["state"] in ACTIVE)}
    if "expired_at_utc" in values:
        columns["expired"] = int(values["expired_at_utc"] is not None)
    if "settings" in values:
        columns["camera"] = values["settings"]["camera"]
    if columns:
        connection.execute(
            f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in columns)} WHERE id = ?",
            (*columns.values(), job_id),
        )
    if "plan" in values:
        connection.execute("DELETE FROM job_plans WHERE job_id = ?", (job_id,))
        if values["plan"] is not None:
            connection.execute(
                "INSERT INTO job_plans (job_id, plan) VALUES (?, ?)",
                (job_id, json.dumps(values["plan"])),
            )
    if "done_segments" in values:
        connection.execute("DELETE FROM done_segments WHERE job_id = ?", (job_id,))
        connection.executemany(
            "INSERT OR IGNORE INTO done_segments VALUES (?, ?)",
            [(job_id, index) for index in values["done_segments"]],
        )
    document = {name: value for name, value in values.items() if name not in _ROW_ONLY}
    if document:
        (text,) = connection.execute(
            "SELECT document FROM job_documents WHERE job_id = ?", (job_id,)
        ).fetchone()
        connection.execute(
            "UPDATE job_documents SET document = ? WHERE job_id = ?",
            (json.dumps({**json.loads(text), **document}), job_id),
        )
