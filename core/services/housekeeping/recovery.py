"""Recovery of lost job records from the jobs' blobs, as after a restore of the database."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import datetime

from pydantic import ValidationError

from core.domain.analysis import AnalysisSettings
from core.domain.blobs import (
    ARTIFACTS,
    job_prefix,
    result_blob,
    results_prefix,
    revision_attempt,
    source_blob,
    source_prefix,
    submission_blob,
)
from core.domain.clock import Clock
from core.domain.job import Failure, Job, JobState, SourceFile
from core.domain.results import ClassCounts
from core.errors import Conflict, NotFound
from core.ports import BlobInfo, Ports
from core.services.housekeeping.expiry_brake import NOTE as RETENTION_NOTE

logger = logging.getLogger(__name__)

RECOVERED = "recovered"
"""Error code of a job that was recovered without results."""


async def recover(ports: Ports, clock: Clock, job_ids: Iterable[str]) -> list[Job]:
    """Rebuild lost records.

    Blobs are read and never changed. Idempotent: a job with a record or a tombstone is skipped.

    A job with a complete revision of results becomes `completed`, with the newest revision. Any
    other job becomes `failed` with the code `recovered`, from which retry can start, because the
    state in which its record was lost is unknown. Owner, settings and names come from the copy that
    was stored when the job was accepted. Jobs of releases before that copy existed get the owner
    `local` and the settings of their results.

    Args:
        ports: Open ports.
        clock: Returns the current time.
        job_ids: Ids of jobs that have blobs.

    Returns:
        The jobs as they were recorded.

    Raises:
        Unavailable: Storage or database does not respond.
    """
    ids = list(dict.fromkeys(job_ids))
    skipped = {*await ports.jobs.outlines(ids), *await ports.ledger.tombstones(ids)}
    made: list[Job] = []
    for job_id in ids:
        job = None if job_id in skipped else await _read(ports, job_id, clock())
        if job is None:
            continue
        if not made:
            # Recovered jobs may be older than the retention. The retention is therefore treated as
            # a new value, so that many jobs do not expire at once.
            await ports.ledger.write_note(RETENTION_NOTE, {})
        recorded = await _record(ports, job)
        if recorded is not None:
            made.append(recorded)
            logger.warning(
                "job recovered",
                extra={"action": "job_recovered", "job_id": job_id, "state": job.state},
            )
    return made


async def show_newest_results(ports: Ports, clock: Clock, job: Job) -> Job | None:
    """Publish the newest remaining results of a completed job whose published results are gone.

    A database that was restored from a backup names a revision that a later recount has replaced.
    Blobs are read and never changed.

    Returns:
        The job in a new attempt; None if no results of it can be read.

    Raises:
        FenceLost: The job was counted again in the meantime.
        Unavailable: Storage or database does not respond.
    """
    results = [info async for info in ports.results.list_blobs(job_prefix(job.id))]
    for revision in _whole_revisions(job.id, results):
        found = await _completed(ports, job.id, revision, results)
        if found is None:
            continue
        settings, fields = found
        del fields["attempt"]
        # If this process ends here, the sweeper sends the attempt's message, as for any other
        # attempt.
        state: JobState = "queued" if job.plan is None else "assembling"
        begun = await ports.jobs.begin_attempt(
            job.id, expected_attempt=job.attempt, settings=settings, state=state, at=clock()
        )
        changes = {**fields, "expired_at_utc": job.expired_at_utc}
        shown = await ports.jobs.update(
            job.id, attempt=begun.attempt, expected=(state,), at=clock(), changes=changes
        )
        logger.warning(
            "newest results published",
            extra={"action": "results_shown_again", "job_id": job.id, "revision": revision},
        )
        return shown
    return None


async def _record(ports: Ports, job: Job) -> Job | None:
    """Record a job.

    Return None if another process recorded it, or if the same request has made another job since.
    """
    try:
        stored = await ports.jobs.add(job)
        if stored.id != job.id and stored.request_hash != job.request_hash:
            # By now the key stands for other content.
            job = job.model_copy(update={"idempotency_key": None, "request_hash": None})
            stored = await ports.jobs.add(job)
    except Conflict:
        return None
    if stored.id != job.id:
        # If this job was recorded as well, the recording would be counted twice. The job's files
        # remain, and are reported.
        extra = {"action": "job_submitted_again", "job_id": job.id, "other": stored.id}
        logger.warning("not recovered: the same request has since made another job", extra=extra)
        return None
    return stored


async def _read(ports: Ports, job_id: str, now: datetime) -> Job | None:
    """Return the job that the blobs describe; None if there are neither videos nor results."""
    sources = [info async for info in ports.sources.list_blobs(source_prefix(job_id))]
    results = [info async for info in ports.results.list_blobs(job_prefix(job_id))]
    copy = await _copy(ports, job_id)
    revisions = _whole_revisions(job_id, results)
    if not sources and not revisions:
        return None
    values: dict[str, object] = {
        "id": job_id,
        "files": _files(job_id, sources, copy),
        "updated_at_utc": now,
        "heartbeat_at_utc": now,
    }
    values["created_at_utc"] = (
        copy.created_at_utc if copy else min(info.modified_at_utc for info in [*sources, *results])
    )
    if copy is not None:
        # The idempotency key is restored, too, so that a repeated request finds its job.
        kept = ("owner", "settings", "idempotency_key", "request_hash", "webhook", "traceparent")
        values |= {name: getattr(copy, name) for name in kept}
    if not sources:
        values |= {"expired": ("sources",), "expired_at_utc": now}
    for revision in revisions:
        completed = await _completed(ports, job_id, revision, results)
        if completed is not None:
            settings, fields = completed
            return Job.model_validate({**values, **fields, "settings": settings})
    if revisions:
        # The results are attributed to an earlier attempt. Otherwise the sweeper would delete them
        # as superseded.
        values |= _shown(job_id, revisions[0], results)
    return Job.model_validate(
        {**values, "state": "failed", "completed_at_utc": now, "error": _lost()}
    )


async def _completed(
    ports: Ports, job_id: str, revision: str, results: list[BlobInfo]
) -> tuple[AnalysisSettings, dict[str, object]] | None:
    """Return settings and other fields of a completed job; None if its results cannot be read."""
    try:
        told = json.loads(await ports.results.get(result_blob(job_id, revision, "results.json")))
        settings = AnalysisSettings.model_validate(told["settings"])
        counts = {name: ClassCounts.model_validate(each) for name, each in told["counts"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        logger.warning(
            "results cannot be read",
            extra={"action": "results_unreadable", "job_id": job_id, "revision": revision},
        )
        return None
    ended = next(
        info.modified_at_utc
        for info in results
        if info.name == result_blob(job_id, revision, "run.json")
    )
    shown = _shown(job_id, revision, results)
    return settings, {
        "state": "completed",
        "counts": counts,
        "completed_at_utc": ended,
        **shown,
    }


def _shown(job_id: str, revision: str, results: list[BlobInfo]) -> dict[str, object]:
    """Return the fields through which readers find a revision."""
    names = {info.name for info in results}
    artifacts = tuple(name for name in ARTIFACTS if result_blob(job_id, revision, name) in names)
    return {
        "attempt": revision_attempt(revision) or 1,
        "result_revision": revision,
        "artifacts": artifacts,
    }


def _whole_revisions(job_id: str, results: list[BlobInfo]) -> list[str]:
    """Return the complete revisions, newest first.

    `run.json` is the last file that is written before a revision is published.
    """
    prefix, ends = results_prefix(job_id), {}
    for info in results:
        revision, _, name = info.name.removeprefix(prefix).partition("/")
        if (
            info.name.startswith(prefix)
            and name == "run.json"
            and revision_attempt(revision) is not None
        ):
            ends[revision] = (revision_attempt(revision) or 0, info.modified_at_utc)
    names = {info.name for info in results}
    whole = [
        revision for revision in ends if result_blob(job_id, revision, "results.json") in names
    ]
    return sorted(whole, key=lambda revision: ends[revision], reverse=True)


def _files(job_id: str, sources: list[BlobInfo], copy: Job | None) -> tuple[SourceFile, ...]:
    if not sources:
        return (
            copy.files
            if copy
            else (SourceFile(name="video-1", blob=source_blob(job_id, 0), size_bytes=0, etag=""),)
        )
    if copy:
        # A missing file remains in the list, because a part of a recording must not be counted as
        # the whole.
        here = {info.name: {"size_bytes": info.size_bytes, "etag": info.etag} for info in sources}
        return tuple(file.model_copy(update=here.get(file.blob, {})) for file in copy.files)
    return tuple(
        SourceFile(
            name=f"video-{number + 1}", blob=info.name, size_bytes=info.size_bytes, etag=info.etag
        )
        for number, info in enumerate(sources)
    )


async def _copy(ports: Ports, job_id: str) -> Job | None:
    try:
        return Job.model_validate_json(await ports.results.get(submission_blob(job_id)))
    except (NotFound, ValidationError):
        return None


def _lost() -> Failure:
    return Failure(
        code=RECOVERED,
        message="The job's record was lost and rebuilt from its files, which contain no "
        "complete results. Retry the job to count it.",
    )
