"""Code that the job stores share: permitted changes, and conversions to and from JSON values."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from core.domain.job import TERMINAL, Job, JobState, SourceFile
from core.domain.json_values import JsonObject
from core.errors import Conflict, FenceLost, InvalidInput
from core.ports import JobTurn, WorkerReport

KEEP_REPORTS = timedelta(days=7)
"""Reports that are older than a new one by this time are dropped. Every restart of a worker leaves
one behind.
"""

_FIXED = {
    "id",
    "attempt",
    "owner",
    "created_at_utc",
    "updated_at_utc",
    "heartbeat_at_utc",
    "idempotency_key",
}


def plain(job: Job) -> JsonObject:
    """Return a job as JSON values."""
    values: JsonObject = json.loads(job.model_dump_json())
    return values


def checked_changes(changes: Mapping[str, object]) -> JsonObject:
    """Check the changes of an update and return them as JSON values.

    With a terminal state, `waiting` becomes null.

    Raises:
        InvalidInput: An update may not set the field, or the value is not valid (code
            `invalid_change`).
    """
    wrong = sorted(name for name in changes if name in _FIXED or name not in Job.model_fields)
    if wrong:
        raise InvalidInput(
            f"A job update cannot set the field '{wrong[0]}'.", code="invalid_change"
        )
    if changes.get("state") in TERMINAL:
        changes = {**changes, "waiting": None}
    moment = datetime(2000, 1, 1, tzinfo=UTC)
    blank = {
        "id": "blank",
        "files": (SourceFile(name="", blob="", size_bytes=0, etag=""),),
        "created_at_utc": moment,
        "updated_at_utc": moment,
        "heartbeat_at_utc": moment,
    }
    try:
        values = plain(Job.model_validate({**blank, **changes}))
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(map(str, fault["loc"]))
        raise InvalidInput(
            f"Invalid value for the job field {field}: {fault['msg']}.", code="invalid_change"
        ) from error
    return {name: values[name] for name in changes}


def job_exists(job_id: str) -> Conflict:
    """Return the error for an id that is taken."""
    return Conflict(f"Job {job_id} already exists.", code="job_exists")


def fence_lost(job_id: str, *, state: str, attempt: int) -> FenceLost:
    """Return the error for a write that came too late."""
    return FenceLost(
        f"Job {job_id} has moved on to {state}, attempt {attempt}. This change came too late.",
        state=state,
        attempt=attempt,
    )


def report_to_plain(report: WorkerReport) -> dict[str, object]:
    """Return a report as JSON values without its time."""
    values = dataclasses.asdict(report)
    del values["at_utc"]
    return values


def report_from_plain(values: dict[str, Any], *, at: datetime) -> WorkerReport:
    """Return the report of JSON values."""
    lists = {name: tuple(values[name]) for name in ("models_loaded", "serves")}
    return WorkerReport(**{**values, **lists}, at_utc=at)


def turn_of(
    segments: int,
    done: Collection[int],
    sent_until: int | None,
    *,
    state: JobState,
    waiting: str | None,
    **fields: Any,
) -> JobTurn:
    """Return a job's turn.

    Args:
        segments: Number of segments.
        done: The segments that are done.
        sent_until: As in `Job`.
        state, waiting, fields: As in `JobTurn`.
    """
    if state != "detecting":
        return JobTurn(state=state, waiting=waiting, **fields)
    until = segments if sent_until is None else sent_until
    handed_out = until - sum(index < until for index in done)
    return JobTurn(
        state=state,
        waiting=waiting,
        handed_out=handed_out,
        has_more=len(done) + handed_out < segments,
        **fields,
    )


def next_segments(
    segments: int, done: Collection[int], sent_until: int | None, most: int
) -> list[int]:
    """Return the segments to assign next."""
    if sent_until is None:
        return []
    known = set(done)
    return list(
        itertools.islice(
            (index for index in range(sent_until, segments) if index not in known), max(0, most)
        )
    )
