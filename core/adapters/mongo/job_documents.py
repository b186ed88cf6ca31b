"""Jobs as documents of MongoDB: fields, indexes and conversions."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime

from pymongo import ASCENDING, IndexModel

from core.adapters.mongo.connection import Document, escaped, newest_first, unescaped
from core.adapters.shared import listing
from core.adapters.shared.job_records import plain
from core.domain.job import ACTIVE, Job
from core.domain.json_values import JsonObject

_TIMES = (
    "created_at_utc",
    "updated_at_utc",
    "heartbeat_at_utc",
    "completed_at_utc",
    "expired_at_utc",
)
_BOOKKEEPING = ("active", "submission")
TURN_FIELDS = ("plan.segments.index", "done_segments", "sent_until")
CAMERA = "settings.camera"
JOB_INDEXES = (
    # Sparse, because jobs without an idempotency key lack the field. A compound index would leave
    # out only documents that lack all of its fields.
    IndexModel([("submission", ASCENDING)], unique=True, sparse=True),
    IndexModel([("active", ASCENDING), ("heartbeat_at_utc", ASCENDING), ("_id", ASCENDING)]),
    IndexModel(
        [
            ("active", ASCENDING),
            ("expired_at_utc", ASCENDING),
            ("created_at_utc", ASCENDING),
            ("_id", ASCENDING),
        ]
    ),
    *(
        newest_first(*equal, time="created_at_utc")
        for equal in (
            (),
            ("state",),
            (CAMERA,),
            (CAMERA, "state"),
            ("owner",),
            ("owner", "state"),
            ("owner", CAMERA),
            ("owner", CAMERA, "state"),
        )
    ),
)


def segments_handed_out(document: Document) -> tuple[int, list[int], int | None]:
    """Return the number of a job's segments, those that are done, and `sent_until`."""
    plan = document.get("plan") or {}
    return (
        len(plan.get("segments", ())),
        document.get("done_segments", []),
        document.get("sent_until"),
    )


def position_of(job: Job) -> listing.Position:
    """Return the position of a job in a listing, newest first."""
    return listing.Position(listing.to_ms(job.created_at_utc), job.id)


def submission_key(owner: str, idempotency_key: str) -> str:
    """Return the value that jobs with the same owner and idempotency key share."""
    return hashlib.sha256(json.dumps([owner, idempotency_key]).encode()).hexdigest()


def fields_of(values: JsonObject) -> Document:
    """Convert a job's fields from JSON values to the values of a document."""
    document: Document = escaped(values)
    for name in _TIMES:
        if document.get(name) is not None:
            document[name] = datetime.fromisoformat(document[name])
    if "state" in document:
        document["active"] = document["state"] in ACTIVE
    return document


def document_of(job: Job) -> Document:
    """Return a job as a document."""
    document = fields_of(plain(job))
    document["_id"] = document.pop("id")
    if job.idempotency_key is not None:
        document["submission"] = submission_key(job.owner, job.idempotency_key)
    return document


def job_of(document: Document) -> Job:
    """Return the job of a document."""
    values = unescaped(
        {name: value for name, value in document.items() if name not in _BOOKKEEPING}
    )
    values["id"] = values.pop("_id")
    values["done_segments"] = sorted(values["done_segments"])
    return Job.model_validate(values)
