"""Jobs as rows of SQLite: a row of `jobs`, a document, a plan, and the segments that are done."""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from core.adapters.shared import listing
from core.adapters.shared.job_records import fence_lost, job_exists, plain
from core.domain.job import ACTIVE, Job, JobState
from core.domain.refusals import no_such_job
from core.ports import JobFilter

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
# Read only where needed, because the plan of a long recording is large.
SEGMENTS = "CASE state WHEN 'detecting' THEN (SELECT json_array_length(plan, '$.segments') FROM job_plans WHERE job_plans.job_id = id) END"
DONE = "CASE state WHEN 'detecting' THEN (SELECT json_group_array(segment) FROM done_segments WHERE done_segments.job_id = id) END"
# LEFT JOINs fix the order of the tables, so that the walk along an index of `jobs` is the outer
# loop.
SELECT = f"""SELECT {", ".join(f"jobs.{name}" for name in _COLUMNS)}, {", ".join(f"{name}_ms" for name in _TIMES)},
    step_starts, step_failures, document, plan, (SELECT json_group_array(segment) FROM done_segments WHERE job_id = jobs.id)
    FROM jobs LEFT JOIN job_documents ON job_documents.job_id = jobs.id LEFT JOIN job_plans ON job_plans.job_id = jobs.id"""


def position_of(job: Job) -> listing.Position:
    """Return the position of a job in a listing, newest first."""
    return listing.Position(listing.to_ms(job.created_at_utc), job.id)


def job_of(row: tuple[Any, ...]) -> Job:
    """Return the job of a row of `SELECT`."""
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


def load(connection: sqlite3.Connection, job_id: str, owner: str | None = None) -> Job:
    """Return a job. Raises `NotFound` if it does not exist or belongs to another owner."""
    condition, values = ("", (job_id,)) if owner is None else (" AND owner = ?", (job_id, owner))
    row = connection.execute(f"{SELECT} WHERE jobs.id = ?{condition}", values).fetchone()
    if row is None:
        raise no_such_job(job_id)
    return job_of(row)


def find_by_key(connection: sqlite3.Connection, owner: str, idempotency_key: str) -> Job | None:
    """Return the job with an idempotency key, if there is one."""
    row = connection.execute(
        f"{SELECT} WHERE owner = ? AND idempotency_key = ?", (owner, idempotency_key)
    ).fetchone()
    return None if row is None else job_of(row)


def newest(
    connection: sqlite3.Connection, where: JobFilter, span: listing.Span, limit: int
) -> Iterator[Job]:
    """Yield the jobs that match a filter, newest first; at most `limit` per state."""
    # One walk per state, merged, because an index on (state, time) orders only the jobs of one
    # state.
    states: list[JobState | None] = [*sorted(set(where.states))] or [None]
    walks = [_walk(connection, where, state, span, limit) for state in states]
    return heapq.merge(*walks, key=position_of, reverse=True)


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
        f"{SELECT} WHERE {' AND '.join(conditions)} ORDER BY created_ms DESC, jobs.id DESC LIMIT ?"
    )
    return map(
        job_of, connection.execute(query, (*equal.values(), span.since_ms, *span.before, limit))
    )


def add(connection: sqlite3.Connection, job: Job) -> Job:
    """Record a job, or return the job that its idempotency key made before."""
    if job.idempotency_key is not None:
        known = find_by_key(connection, job.owner, job.idempotency_key)
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
    write_fields(
        connection, job.id, {name: value for name, value in values.items() if name not in fixed}
    )
    return load(connection, job.id)


def check_fence(
    connection: sqlite3.Connection, job_id: str, attempt: int, states: tuple[JobState, ...] | None
) -> None:
    """Raise `NotFound` or `FenceLost` unless a job is in this attempt and one of these states."""
    row = connection.execute("SELECT attempt, state FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise no_such_job(job_id)
    if row[0] != attempt or (states is not None and row[1] not in states):
        raise fence_lost(job_id, state=row[1], attempt=row[0])


def touch(
    connection: sqlite3.Connection, job_id: str, at: datetime, *, everything: bool = False
) -> None:
    """Record the heartbeat, and with `everything` also that the job changed."""
    at_ms = listing.to_ms(at)
    connection.execute("UPDATE jobs SET heartbeat_ms = ? WHERE id = ?", (at_ms, job_id))
    if everything:
        connection.execute("UPDATE jobs SET updated_ms = ? WHERE id = ?", (at_ms, job_id))


def steps_of(connection: sqlite3.Connection, job_id: str) -> tuple[dict[str, int], dict[str, int]]:
    """Return the numbers of starts and of failures by step."""
    starts, failures = connection.execute(
        "SELECT step_starts, step_failures FROM jobs WHERE id = ?", (job_id,)
    ).fetchone()
    return json.loads(starts), json.loads(failures)


def write_fields(connection: sqlite3.Connection, job_id: str, values: Mapping[str, object]) -> None:
    """Write fields, given as JSON values, to the tables that store them."""
    columns: dict[str, object] = {
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
        settings = values["settings"]
        assert isinstance(settings, dict)
        columns["camera"] = settings["camera"]
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
        done = values["done_segments"]
        assert isinstance(done, list)
        connection.execute("DELETE FROM done_segments WHERE job_id = ?", (job_id,))
        connection.executemany(
            "INSERT OR IGNORE INTO done_segments VALUES (?, ?)",
            [(job_id, index) for index in done],
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
