"""Jobs in SQLite."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime

from core.adapters.shared import listing
from core.adapters.shared.job_records import (
    KEEP_REPORTS,
    checked_changes,
    next_segments,
    report_from_plain,
    report_to_plain,
    turn_of,
)
from core.adapters.sqlite import job_rows
from core.adapters.sqlite.store import SqliteStore
from core.domain.analysis import AnalysisSettings
from core.domain.job import ACTIVE, TERMINAL, Job, JobState
from core.ports import JobFilter, JobOutline, JobStore, JobTurn, Page, WorkerReport

_IDS_AT_ONCE = 500


class SqliteJobStore(SqliteStore, JobStore):
    """Stores jobs in tables of an SQLite file.

    Args:
        database: The file; it may be shared with other stores.
    """

    PING = "SELECT id FROM jobs WHERE id = ''"

    async def add(self, job: Job) -> Job:
        return await self._database.write(lambda connection: job_rows.add(connection, job))

    async def get(self, job_id: str, *, owner: str | None = None) -> Job:
        return await self._database.read(
            lambda connection: job_rows.load(connection, job_id, owner)
        )

    async def count_active(self, owner: str) -> int:
        # Filters by state, not by `active`, because there is an index on (owner, state).
        query = f"SELECT COUNT(*) FROM jobs WHERE owner = ? AND state IN ({', '.join('?' * len(ACTIVE))})"
        return await self._database.read(
            lambda connection: connection.execute(query, (owner, *ACTIVE)).fetchone()[0]
        )

    async def find_by_key(self, owner: str, idempotency_key: str) -> Job | None:
        return await self._database.read(
            lambda connection: job_rows.find_by_key(connection, owner, idempotency_key)
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
                itertools.islice(job_rows.newest(connection, where, span, limit + 1), limit + 1)
            )
        )
        more = len(jobs) > limit
        jobs = jobs[:limit]
        return Page(jobs, listing.encode_cursor(job_rows.position_of(jobs[-1])) if more else None)

    async def update(
        self,
        job_id: str,
        *,
        attempt: int,
        expected: Iterable[JobState],
        at: datetime,
        changes: Mapping[str, object],
    ) -> Job:
        values, states = checked_changes(changes), tuple(expected)

        def change(connection: sqlite3.Connection) -> None:
            job_rows.touch(connection, job_id, at, everything=True)
            job_rows.write_fields(connection, job_id, values)

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
        fresh: dict[str, object] = {
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
            job_rows.touch(connection, job_id, at, everything=True)
            job_rows.write_fields(connection, job_id, values)

        return await self._fenced(job_id, expected_attempt, TERMINAL, change)

    async def mark_segment_done(
        self, job_id: str, *, attempt: int, segment: int, at: datetime
    ) -> Job:
        def change(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR IGNORE INTO done_segments VALUES (?, ?)", (job_id, segment)
            )
            job_rows.touch(connection, job_id, at, everything=True)

        return await self._fenced(job_id, attempt, ACTIVE, change)

    async def turns(self, owner: str) -> list[JobTurn]:
        query = f"""SELECT id, state, attempt, json_extract(document, '$.waiting.code'), json_extract(document, '$.traceparent'),
            json_extract(document, '$.sent_until'), {job_rows.SEGMENTS}, {job_rows.DONE} FROM jobs LEFT JOIN job_documents ON job_id = id
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
        query = f"""SELECT json_extract(document, '$.sent_until'), {job_rows.SEGMENTS}, {job_rows.DONE} FROM jobs
            LEFT JOIN job_documents ON job_id = id WHERE id = ?"""

        def work(connection: sqlite3.Connection) -> list[int]:
            job_rows.check_fence(connection, job_id, attempt, ("detecting",))
            sent_until, segments, done = connection.execute(query, (job_id,)).fetchone()
            handed = next_segments(segments or 0, json.loads(done or "[]"), sent_until, most)
            if handed:
                job_rows.write_fields(connection, job_id, {"sent_until": handed[-1] + 1})
            return handed

        return await self._database.write(work)

    async def touch(
        self, job_id: str, *, attempt: int, at: datetime, rendered_frames: int | None = None
    ) -> Job:
        def change(connection: sqlite3.Connection) -> None:
            job_rows.touch(connection, job_id, at)
            if rendered_frames is not None:
                connection.execute(
                    "UPDATE jobs SET rendered_frames = ? WHERE id = ?", (rendered_frames, job_id)
                )

        return await self._fenced(job_id, attempt, None, change)

    async def step_started(self, job_id: str, *, attempt: int, step_key: str, at: datetime) -> int:
        def work(connection: sqlite3.Connection) -> int:
            job_rows.check_fence(connection, job_id, attempt, None)
            starts, failures = job_rows.steps_of(connection, job_id)
            starts[step_key] = starts.get(step_key, 0) + 1
            job_rows.write_fields(
                connection, job_id, {"step_starts": starts, "step_failures": failures}
            )
            job_rows.touch(connection, job_id, at)
            return starts[step_key]

        return await self._database.write(work)

    async def step_ended(
        self, job_id: str, *, attempt: int, step_key: str, failed: bool, at: datetime
    ) -> int:
        def work(connection: sqlite3.Connection) -> int:
            job_rows.check_fence(connection, job_id, attempt, None)
            starts, failures = job_rows.steps_of(connection, job_id)
            starts.pop(step_key, None)
            before = failures.pop(step_key, 0)
            if failed:
                failures[step_key] = before + 1
            job_rows.write_fields(
                connection, job_id, {"step_starts": starts, "step_failures": failures}
            )
            job_rows.touch(connection, job_id, at)
            return failures.get(step_key, 0)

        return await self._database.write(work)

    async def step_released(
        self, job_id: str, *, attempt: int, step_key: str, at: datetime
    ) -> None:
        def work(connection: sqlite3.Connection) -> None:
            job_rows.check_fence(connection, job_id, attempt, None)
            starts, _ = job_rows.steps_of(connection, job_id)
            left = starts.pop(step_key, 0) - 1
            job_rows.write_fields(
                connection, job_id, {"step_starts": starts | ({step_key: left} if left > 0 else {})}
            )
            job_rows.touch(connection, job_id, at)

        await self._database.write(work)

    async def stalled(self, *, heartbeat_before: datetime, limit: int) -> list[Job]:
        query = f"{job_rows.SELECT} WHERE active = 1 AND heartbeat_ms < ? ORDER BY heartbeat_ms, jobs.id LIMIT ?"
        values = (listing.bound_ms(heartbeat_before), limit)
        return await self._database.read(
            lambda connection: [job_rows.job_of(row) for row in connection.execute(query, values)]
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
        query = f"{job_rows.SELECT} WHERE active = 0 AND expired = 0 AND created_ms < ? ORDER BY created_ms, jobs.id LIMIT ?"
        values = (listing.bound_ms(created_before), limit)
        return await self._database.read(
            lambda connection: [job_rows.job_of(row) for row in connection.execute(query, values)]
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
            job_rows.check_fence(connection, job_id, attempt, states)
            change(connection)
            return job_rows.load(connection, job_id)

        return await self._database.write(work)
