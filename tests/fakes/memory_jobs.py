"""A job store in memory, for unit tests.

It keeps JSON, so that callers share no object with the store.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from core.adapters.shared import listing
from core.adapters.shared.job_records import checked_changes, next_segments, turn_of
from core.domain.analysis import AnalysisSettings
from core.domain.job import ACTIVE, TERMINAL, Job, JobState
from core.domain.refusals import no_such_job
from core.errors import Conflict, FenceLost
from core.ports import JobFilter, JobOutline, JobStore, JobTurn, Page, WorkerReport
from tests.fakes.memory_store import MemoryStore


class MemoryJobStore(MemoryStore, JobStore):
    """Keeps jobs in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self._records: dict[str, str] = {}
        self._reports: dict[str, WorkerReport] = {}

    async def add(self, job: Job) -> Job:
        self._answer()
        if job.idempotency_key is not None:
            known = self._find(job.owner, job.idempotency_key)
            if known is not None:
                return known
        if job.id in self._records:
            raise Conflict(f"Job {job.id} exists already.", code="job_exists")
        return self._write(job)

    async def get(self, job_id: str, *, owner: str | None = None) -> Job:
        self._answer()
        job = self._read(job_id)
        if owner is not None and job.owner != owner:
            raise no_such_job(job_id)
        return job

    async def count_active(self, owner: str) -> int:
        self._answer()
        return sum(
            job.owner == owner and not job.is_terminal for job in map(self._read, self._records)
        )

    async def find_by_key(self, owner: str, idempotency_key: str) -> Job | None:
        self._answer()
        return self._find(owner, idempotency_key)

    async def list_page(
        self, where: JobFilter, *, limit: int, cursor: str | None = None
    ) -> Page[Job]:
        self._answer()
        jobs = [job for job in map(self._read, self._records) if _matches(job, where)]
        return page_of(
            [(job.created_at_utc, job.id, job) for job in jobs], limit=limit, cursor=cursor
        )

    async def update(
        self,
        job_id: str,
        *,
        attempt: int,
        expected: Iterable[JobState],
        at: datetime,
        changes: Mapping[str, object],
    ) -> Job:
        self._answer()
        values = checked_changes(changes)
        job = self._fenced(job_id, attempt, tuple(expected))
        return self._write(job, **values, updated_at_utc=at, heartbeat_at_utc=at)

    async def begin_attempt(
        self,
        job_id: str,
        *,
        expected_attempt: int,
        settings: AnalysisSettings,
        state: JobState,
        at: datetime,
    ) -> Job:
        self._answer()
        job = self._fenced(job_id, expected_attempt, TERMINAL)
        fresh: dict[str, Any] = {
            "error": None,
            "waiting": None,
            "step_failures": {},
            "step_starts": {},
            "rendered_frames": 0,
        }
        fresh["expired_at_utc"] = None
        times = {"updated_at_utc": at, "heartbeat_at_utc": at}
        return self._write(
            job, attempt=job.attempt + 1, settings=settings, state=state, **fresh, **times
        )

    async def mark_segment_done(
        self, job_id: str, *, attempt: int, segment: int, at: datetime
    ) -> Job:
        self._answer()
        job = self._fenced(job_id, attempt, ACTIVE)
        done = tuple(sorted({*job.done_segments, segment}))
        return self._write(job, done_segments=done, updated_at_utc=at, heartbeat_at_utc=at)

    async def turns(self, owner: str) -> list[JobTurn]:
        self._answer()
        jobs = [
            job
            for job in map(self._read, self._records)
            if job.owner == owner and not job.is_terminal
        ]
        return [_turn(job) for job in sorted(jobs, key=lambda job: (job.created_at_utc, job.id))]

    async def hand_out(self, job_id: str, *, attempt: int, most: int) -> list[int]:
        self._answer()
        job = self._fenced(job_id, attempt, ("detecting",))
        handed = next_segments(
            len(job.plan.segments) if job.plan else 0, job.done_segments, job.sent_until, most
        )
        if handed:
            self._write(job, sent_until=handed[-1] + 1)
        return handed

    async def touch(
        self, job_id: str, *, attempt: int, at: datetime, rendered_frames: int | None = None
    ) -> Job:
        self._answer()
        job = self._fenced(job_id, attempt, None)
        frames = job.rendered_frames if rendered_frames is None else rendered_frames
        return self._write(job, heartbeat_at_utc=at, rendered_frames=frames)

    async def step_started(self, job_id: str, *, attempt: int, step_key: str, at: datetime) -> int:
        self._answer()
        job = self._fenced(job_id, attempt, None)
        starts = job.step_starts.get(step_key, 0) + 1
        self._write(job, heartbeat_at_utc=at, step_starts={**job.step_starts, step_key: starts})
        return starts

    async def step_ended(
        self, job_id: str, *, attempt: int, step_key: str, failed: bool, at: datetime
    ) -> int:
        self._answer()
        job = self._fenced(job_id, attempt, None)
        starts = {key: number for key, number in job.step_starts.items() if key != step_key}
        failures = {
            key: number for key, number in job.step_failures.items() if failed or key != step_key
        }
        if failed:
            failures[step_key] = failures.get(step_key, 0) + 1
        self._write(job, heartbeat_at_utc=at, step_starts=starts, step_failures=failures)
        return failures.get(step_key, 0)

    async def step_released(
        self, job_id: str, *, attempt: int, step_key: str, at: datetime
    ) -> None:
        self._answer()
        job = self._fenced(job_id, attempt, None)
        starts = {**job.step_starts, step_key: job.step_starts.get(step_key, 0) - 1}
        self._write(
            job,
            heartbeat_at_utc=at,
            step_starts={key: number for key, number in starts.items() if number > 0},
        )

    async def stalled(self, *, heartbeat_before: datetime, limit: int) -> list[Job]:
        self._answer()
        jobs = [
            job
            for job in map(self._read, self._records)
            if job.state in ACTIVE and job.heartbeat_at_utc < heartbeat_before
        ]
        return sorted(jobs, key=lambda job: (job.heartbeat_at_utc, job.id))[:limit]

    async def outlines(self, job_ids: Collection[str]) -> dict[str, JobOutline]:
        self._answer()
        jobs = [self._read(job_id) for job_id in set(job_ids) if job_id in self._records]
        return {
            job.id: JobOutline(job.state, job.attempt, job.result_revision, job.updated_at_utc)
            for job in jobs
        }

    async def unexpired(self, *, created_before: datetime, limit: int) -> list[Job]:
        self._answer()
        jobs = [
            job
            for job in map(self._read, self._records)
            if job.is_terminal and job.expired_at_utc is None
        ]
        return sorted(
            (job for job in jobs if job.created_at_utc < created_before),
            key=lambda job: (job.created_at_utc, job.id),
        )[:limit]

    async def count_unexpired(self, *, created_before: datetime | None = None) -> int:
        return len(
            await self.unexpired(
                created_before=created_before or datetime.max.replace(tzinfo=UTC), limit=10**9
            )
        )

    async def delete(self, job_id: str) -> bool:
        self._answer()
        return self._records.pop(job_id, None) is not None

    async def report_worker(self, report: WorkerReport) -> None:
        self._answer()
        self._reports[report.worker_id] = copy.deepcopy(report)
        oldest = report.at_utc - timedelta(days=7)
        self._reports = {key: kept for key, kept in self._reports.items() if kept.at_utc >= oldest}

    async def workers(self, *, since: datetime) -> list[WorkerReport]:
        self._answer()
        return [
            copy.deepcopy(report)
            for _, report in sorted(self._reports.items())
            if report.at_utc >= since
        ]

    def _read(self, job_id: str) -> Job:
        if job_id not in self._records:
            raise no_such_job(job_id)
        return Job.model_validate_json(self._records[job_id])

    def _write(self, job: Job, **changes: Any) -> Job:
        fields = {name: getattr(job, name) for name in Job.model_fields}
        self._records[job.id] = Job.model_validate({**fields, **changes}).model_dump_json()
        return self._read(job.id)

    def _find(self, owner: str, idempotency_key: str) -> Job | None:
        jobs = map(self._read, self._records)
        return next(
            (job for job in jobs if (job.owner, job.idempotency_key) == (owner, idempotency_key)),
            None,
        )

    def _fenced(self, job_id: str, attempt: int, states: tuple[JobState, ...] | None) -> Job:
        job = self._read(job_id)
        if job.attempt != attempt or (states is not None and job.state not in states):
            raise FenceLost(
                f"Job {job_id} is at attempt {job.attempt}, {job.state}.",
                state=job.state,
                attempt=job.attempt,
            )
        return job


def _turn(job: Job) -> JobTurn:
    fields = {"id": job.id, "attempt": job.attempt, "traceparent": job.traceparent}
    waiting = job.waiting.code if job.waiting else None
    return turn_of(
        len(job.plan.segments) if job.plan else 0,
        job.done_segments,
        job.sent_until,
        state=job.state,
        waiting=waiting,
        **fields,
    )


def page_of(rows: list[tuple[datetime, str, Any]], *, limit: int, cursor: str | None) -> Page[Any]:
    """Cut one page out of (time, id, item) rows, newest first."""
    listing.check_limit(limit)
    rows = sorted(rows, key=lambda row: row[:2], reverse=True)
    if cursor is not None:
        after = listing.decode_cursor(cursor)
        rows = [row for row in rows if row[:2] < (listing.from_ms(after.time_ms), after.id)]
    more = len(rows) > limit
    rows = rows[:limit]
    token = (
        listing.encode_cursor(listing.Position(listing.to_ms(rows[-1][0]), rows[-1][1]))
        if more
        else None
    )
    return Page([row[2] for row in rows], token)


def _matches(job: Job, where: JobFilter) -> bool:
    return (
        (not where.states or job.state in where.states)
        and (where.camera is None or job.settings.camera == where.camera)
        and (where.created_from_utc is None or job.created_at_utc >= where.created_from_utc)
        and (where.created_until_utc is None or job.created_at_utc < where.created_until_utc)
        and (where.owner is None or job.owner == where.owner)
    )
