"""Jobs in MongoDB or Azure DocumentDB."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from core.adapters.mongo.connection import (
    Document,
    bound,
    escaped,
    escaped_key,
    unescaped,
    within,
)
from core.adapters.mongo.errors import mapped, mapped_but
from core.adapters.mongo.job_documents import (
    CAMERA,
    JOB_INDEXES,
    TURN_FIELDS,
    document_of,
    fields_of,
    job_of,
    position_of,
    segments_handed_out,
    submission_key,
)
from core.adapters.mongo.store import MongoStore
from core.adapters.shared import listing
from core.adapters.shared.job_records import (
    KEEP_REPORTS,
    checked_changes,
    fence_lost,
    job_exists,
    next_segments,
    report_from_plain,
    report_to_plain,
    turn_of,
)
from core.domain.analysis import AnalysisSettings
from core.domain.clock import as_utc
from core.domain.job import ACTIVE, TERMINAL, Job, JobState
from core.domain.refusals import no_such_job
from core.errors import Unavailable
from core.ports import JobFilter, JobOutline, JobStore, JobTurn, Page, WorkerReport

_TRIES = 50


class MongoJobStore(MongoStore, JobStore):
    """Stores each job as one document of the collection `jobs`, and workers' reports in `workers`.

    Args:
        connection: The connection; it may be shared with other stores.
    """

    INDEXES = {"jobs": JOB_INDEXES, "workers": [IndexModel([("at_utc", ASCENDING)])]}

    async def add(self, job: Job) -> Job:
        document = document_of(job)
        for _ in range(3):
            try:
                with mapped_but(DuplicateKeyError):
                    await self._jobs.insert_one(document)
                return job_of(document)
            except DuplicateKeyError as error:
                known = (
                    None
                    if job.idempotency_key is None
                    else await self.find_by_key(job.owner, job.idempotency_key)
                )
                if known is not None:
                    return known
                with mapped():
                    taken = await self._jobs.find_one({"_id": job.id}, {"_id": 1})
                if taken is not None:
                    raise job_exists(job.id) from error
                # The conflicting job has been deleted in the meantime.
        raise Unavailable(
            f"Job {job.id} could not be recorded, because a conflicting job kept appearing. "
            "Try again.",
            code="database_unavailable",
        )

    async def get(self, job_id: str, *, owner: str | None = None) -> Job:
        query = {"_id": job_id} | ({} if owner is None else {"owner": owner})
        with mapped():
            document = await self._jobs.find_one(query)
        if document is None:
            raise no_such_job(job_id)
        return job_of(document)

    async def count_active(self, owner: str) -> int:
        with mapped():
            return await self._jobs.count_documents(
                {"owner": owner, "state": {"$in": list(ACTIVE)}}
            )

    async def find_by_key(self, owner: str, idempotency_key: str) -> Job | None:
        with mapped():
            document = await self._jobs.find_one(
                {"submission": submission_key(owner, idempotency_key)}
            )
        return None if document is None else job_of(document)

    async def list_page(
        self, where: JobFilter, *, limit: int, cursor: str | None = None
    ) -> Page[Job]:
        listing.check_limit(limit)
        span = listing.span(
            since=where.created_from_utc, until=where.created_until_utc, cursor=cursor
        )
        query: Document = {
            name: value
            for name, value in (("owner", where.owner), (CAMERA, where.camera))
            if value is not None
        }
        if where.states:
            query["state"] = {"$in": sorted(set(where.states))}
        query |= within(span, time="created_at_utc")
        with mapped():
            found = (
                self._jobs.find(query)
                .sort([("created_at_utc", DESCENDING), ("_id", DESCENDING)])
                .limit(limit + 1)
            )
            jobs = [job_of(document) async for document in found]
        more = len(jobs) > limit
        jobs = jobs[:limit]
        return Page(jobs, listing.encode_cursor(position_of(jobs[-1])) if more else None)

    async def update(
        self,
        job_id: str,
        *,
        attempt: int,
        expected: Iterable[JobState],
        at: datetime,
        changes: Mapping[str, object],
    ) -> Job:
        values = fields_of(checked_changes(changes)) | {
            "updated_at_utc": as_utc(at),
            "heartbeat_at_utc": as_utc(at),
        }
        return await self._fenced(job_id, attempt, tuple(expected), {"$set": values})

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
        values = fields_of(checked_changes({"settings": settings, "state": state, **fresh}))
        values |= {"updated_at_utc": as_utc(at), "heartbeat_at_utc": as_utc(at)}
        return await self._fenced(
            job_id, expected_attempt, TERMINAL, {"$set": values, "$inc": {"attempt": 1}}
        )

    async def mark_segment_done(
        self, job_id: str, *, attempt: int, segment: int, at: datetime
    ) -> Job:
        times = {"updated_at_utc": as_utc(at), "heartbeat_at_utc": as_utc(at)}
        return await self._fenced(
            job_id, attempt, ACTIVE, {"$set": times, "$addToSet": {"done_segments": segment}}
        )

    async def turns(self, owner: str) -> list[JobTurn]:
        query = {"owner": owner, "state": {"$in": list(ACTIVE)}}
        fields = dict.fromkeys(("state", "attempt", "waiting.code", "traceparent", *TURN_FIELDS), 1)
        with mapped():
            found = self._jobs.find(query, fields).sort(
                [("created_at_utc", ASCENDING), ("_id", ASCENDING)]
            )
            return [
                turn_of(
                    *segments_handed_out(item),
                    id=item["_id"],
                    state=item["state"],
                    attempt=item["attempt"],
                    waiting=(item.get("waiting") or {}).get("code"),
                    traceparent=item.get("traceparent"),
                )
                async for item in found
            ]

    async def hand_out(self, job_id: str, *, attempt: int, most: int) -> list[int]:
        for _ in range(_TRIES):
            with mapped():
                found = await self._jobs.find_one(
                    {"_id": job_id}, dict.fromkeys(("state", "attempt", *TURN_FIELDS), 1)
                )
            if found is None:
                raise no_such_job(job_id)
            if found["attempt"] != attempt or found["state"] != "detecting":
                raise fence_lost(job_id, state=found["state"], attempt=found["attempt"])
            segments, done, sent_until = segments_handed_out(found)
            handed = next_segments(segments, done, sent_until, most)
            if not handed:
                return []
            query = {
                "_id": job_id,
                "attempt": attempt,
                "state": "detecting",
                "sent_until": sent_until,
            }
            with mapped():
                changed = await self._jobs.update_one(
                    query, {"$set": {"sent_until": handed[-1] + 1}}
                )
            if changed.matched_count:
                return handed
        raise Unavailable(
            f"Segments of job {job_id} could not be assigned, because other processes kept "
            "assigning them. Try again.",
            code="database_unavailable",
        )

    async def touch(
        self, job_id: str, *, attempt: int, at: datetime, rendered_frames: int | None = None
    ) -> Job:
        values: Document = {"heartbeat_at_utc": as_utc(at)}
        if rendered_frames is not None:
            values["rendered_frames"] = rendered_frames
        return await self._fenced(job_id, attempt, None, {"$set": values})

    async def step_started(self, job_id: str, *, attempt: int, step_key: str, at: datetime) -> int:
        started = {f"step_starts.{escaped_key(step_key)}": 1}
        job = await self._fenced(
            job_id, attempt, None, {"$set": {"heartbeat_at_utc": as_utc(at)}, "$inc": started}
        )
        return job.step_starts[step_key]

    async def step_ended(
        self, job_id: str, *, attempt: int, step_key: str, failed: bool, at: datetime
    ) -> int:
        key = escaped_key(step_key)
        change: Document = {
            "$set": {"heartbeat_at_utc": as_utc(at)},
            "$unset": {f"step_starts.{key}": ""},
        }
        if failed:
            change["$inc"] = {f"step_failures.{key}": 1}
        else:
            change["$unset"][f"step_failures.{key}"] = ""
        job = await self._fenced(job_id, attempt, None, change)
        return job.step_failures.get(step_key, 0)

    async def step_released(
        self, job_id: str, *, attempt: int, step_key: str, at: datetime
    ) -> None:
        started, touched = f"step_starts.{escaped_key(step_key)}", {"heartbeat_at_utc": as_utc(at)}
        query: Document = {"_id": job_id, "attempt": attempt, started: {"$gt": 1}}
        with mapped():
            found = await self._jobs.find_one_and_update(
                query, {"$inc": {started: -1}, "$set": touched}, {"_id": 1}
            )
        if found is None:
            await self._fenced(job_id, attempt, None, {"$unset": {started: ""}, "$set": touched})

    async def stalled(self, *, heartbeat_before: datetime, limit: int) -> list[Job]:
        query = {"active": True, "heartbeat_at_utc": {"$lt": bound(heartbeat_before)}}
        with mapped():
            found = (
                self._jobs.find(query)
                .sort([("heartbeat_at_utc", ASCENDING), ("_id", ASCENDING)])
                .limit(limit)
            )
            return [job_of(document) async for document in found]

    async def outlines(self, job_ids: Collection[str]) -> dict[str, JobOutline]:
        fields = dict.fromkeys(("state", "attempt", "result_revision", "updated_at_utc"), 1)
        with mapped():
            found = self._jobs.find({"_id": {"$in": list(job_ids)}}, fields)
            return {
                item["_id"]: JobOutline(
                    item["state"],
                    item["attempt"],
                    item.get("result_revision"),
                    as_utc(item["updated_at_utc"]),
                )
                async for item in found
            }

    async def unexpired(self, *, created_before: datetime, limit: int) -> list[Job]:
        # Jobs that were recorded before expiry existed have null, too.
        query = {
            "active": False,
            "expired_at_utc": None,
            "created_at_utc": {"$lt": bound(created_before)},
        }
        with mapped():
            found = (
                self._jobs.find(query)
                .sort([("created_at_utc", ASCENDING), ("_id", ASCENDING)])
                .limit(limit)
            )
            return [job_of(document) async for document in found]

    async def count_unexpired(self, *, created_before: datetime | None = None) -> int:
        query: Document = {"active": False, "expired_at_utc": None}
        if created_before is not None:
            query["created_at_utc"] = {"$lt": bound(created_before)}
        with mapped():
            return await self._jobs.count_documents(query)

    async def delete(self, job_id: str) -> bool:
        with mapped():
            return (await self._jobs.delete_one({"_id": job_id})).deleted_count > 0

    async def report_worker(self, report: WorkerReport) -> None:
        document = {
            "_id": report.worker_id,
            "at_utc": as_utc(report.at_utc),
            "report": escaped(report_to_plain(report)),
        }
        workers = self._connection.collection("workers")
        with mapped():
            await workers.replace_one({"_id": report.worker_id}, document, upsert=True)
            await workers.delete_many({"at_utc": {"$lt": bound(report.at_utc - KEEP_REPORTS)}})

    async def workers(self, *, since: datetime) -> list[WorkerReport]:
        with mapped():
            found = self._connection.collection("workers").find({"at_utc": {"$gte": bound(since)}})
            reports = [
                report_from_plain(unescaped(item["report"]), at=as_utc(item["at_utc"]))
                async for item in found
            ]
        return sorted(reports, key=lambda report: report.worker_id)

    @property
    def _jobs(self) -> AsyncCollection[Document]:
        return self._connection.collection("jobs")

    async def _fenced(
        self, job_id: str, attempt: int, states: tuple[JobState, ...] | None, change: Document
    ) -> Job:
        """Change a job in one atomic operation if its fence permits it."""
        query: Document = {"_id": job_id, "attempt": attempt}
        if states is not None:
            query["state"] = {"$in": list(states)}
        with mapped():
            document = await self._jobs.find_one_and_update(
                query, change, return_document=ReturnDocument.AFTER
            )
            if document is not None:
                return job_of(document)
            present = await self._jobs.find_one({"_id": job_id}, {"state": 1, "attempt": 1})
        if present is None:
            raise no_such_job(job_id)
        raise fence_lost(job_id, state=present["state"], attempt=present["attempt"])
