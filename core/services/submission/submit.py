"""Submissions: accept a recording as a job.

`202` means that the recording's bytes are committed, the job is recorded and its first message is
sent.

A submission is an async context. When it is left without an accepted job, for whatever reason,
everything that it wrote is deleted. If that fails, or if the process dies before, the sweeper
finishes it: a recorded job is processed, other blobs are deleted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from core.domain.analysis import AnalysisSettings
from core.domain.blobs import job_prefix, submission_blob, submitting_blob
from core.domain.clock import Clock
from core.domain.identity import Tombstone
from core.domain.job import Job
from core.domain.message import JobMessage
from core.domain.refusals import idempotency_key_reused
from core.errors import MusterError, Throttled
from core.ports import BlobStore, Ports
from core.services.access.limits import Limits
from core.services.access.quotas import Quotas
from core.services.access.rooms import Room
from core.services.attempts.dispatch import Dispatcher
from core.services.submission.files import Submission
from core.services.submission.life import ALIVE_EVERY, SubmissionLife

logger = logging.getLogger(__name__)

_PAGE = 500

UNSENT_AFTER = timedelta(seconds=2)
"""How long a recorded job may wait for its first message.

After that, a repetition of the request sends the message, too.
"""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accepted submission.

    `replayed` is true if its idempotency key was used before; `job` is then the job of that
    request.
    """

    job: Job
    replayed: bool


class Submissions:
    """The use cases of a submission: begin it, add its files, accept it.

    Args:
        ports: The ports of the process.
        dispatcher: Sends the first message.
        limits: The operator's limits.
        clock: Returns the current time.
        alive_every: How often a slow submission renews its marker.
        quotas: The quotas of owners; None: unlimited.
    """

    def __init__(
        self,
        ports: Ports,
        dispatcher: Dispatcher,
        limits: Limits,
        clock: Clock,
        *,
        alive_every: timedelta = ALIVE_EVERY,
        quotas: Quotas | None = None,
    ) -> None:
        self._ports = ports
        self._dispatcher = dispatcher
        self._limits = limits
        self._clock = clock
        self._alive_every = alive_every
        self._quotas = quotas or Quotas(ports.jobs, ports.keys, clock, day_bytes=0, active_jobs=0)
        self._unfinished: set[str] = set()
        self._doubtful: set[str] = set()
        self._recorded: set[str] = set()

    @asynccontextmanager
    async def begin(
        self,
        *,
        owner: str,
        idempotency_key: str | None = None,
        declared_bytes: int = 0,
        slack_bytes: int = 0,
        uploads: Collection[str] | None = None,
    ) -> AsyncGenerator[Submission]:
        """Begin a submission, once storage and database are known to respond.

        The bytes of the submission are held until the context is left.

        Args:
            owner: The owner of the submission.
            idempotency_key: The idempotency key of the request, if any.
            declared_bytes: The length that the request declares; 0: none.
            slack_bytes: The part of `declared_bytes` that may not belong to a file.
            uploads: The finished uploads that the job is made of. None: the files arrive with the
                request.

        Raises:
            Unavailable: Storage or database does not respond; nothing was written.
            Throttled: The owner's quota is used up (code `quota_jobs` or `quota_bytes`).
        """
        await asyncio.gather(self._ports.jobs.ping(), self._ports.queue.ping())
        identity = await self._ports.ledger.identity()
        submission = Submission(
            self._ports, self._limits, owner=owner, idempotency_key=idempotency_key
        )
        if await self._earlier(submission) is None:
            submission.room = await self._room(submission, declared_bytes, slack_bytes, uploads)
        try:
            life = SubmissionLife(
                self._ports.sources,
                submission.job_id,
                identity,
                self._clock,
                every=self._alive_every,
            )
            async with life as submission.life:
                yield submission
        finally:
            if submission.accepted:
                await life.erase()
            else:
                # Shielded, because a client that disconnects cancels the request but must not
                # cancel the cleanup.
                await asyncio.shield(asyncio.ensure_future(self._leave(submission)))

    async def _room(
        self,
        submission: Submission,
        declared_bytes: int,
        slack_bytes: int,
        uploads: Collection[str] | None,
    ) -> Room | None:
        owner, key = submission.owner, submission.idempotency_key
        try:
            if uploads is not None:
                return await self._quotas.room_of_uploads(
                    owner, uploads, life=timedelta(minutes=self._limits.upload_minutes)
                )
            return await self._quotas.reserve(
                owner, declared_bytes=declared_bytes, slack_bytes=slack_bytes, name=key or ""
            )
        except Throttled:
            # The same request may have made its job since the check for an earlier job. It has then
            # used the quota that this request lacks.
            if await self._earlier(submission) is None:
                raise
            return None

    async def accept(
        self, submission: Submission, settings: AnalysisSettings, *, traceparent: str | None = None
    ) -> Accepted:
        """Record the job and send its first message.

        Args:
            submission: A submission with at least one file.
            settings: Checked settings.
            traceparent: W3C trace context to pass on, if any.

        Raises:
            InvalidInput: There is no file (code `missing_file`), or the idempotency key was used
                for another request (`idempotency_key_reused`).
            Unavailable: Nothing was accepted.
            Throttled: The owner's quota is used up.
        """
        submission.traceparent = traceparent
        job = submission.make_job(settings, self._clock())
        async with self._quotas.admitting(submission.owner) as admission:
            # The same request may have made its job in the meantime. The quota is not used twice.
            stored = await self._earlier(submission)
            if stored is None:
                await admission.spend(submission.size_bytes, submission.room)
                # Set before the job is recorded. If the request to the store fails, it is unknown
                # whether the job was recorded.
                submission.recorded = True
                stored = await self._ports.jobs.add(job)
                if stored.id != job.id:
                    await admission.take_back()
        if stored.id != job.id:
            submission.recorded = False
            return await self.replay(stored, job.request_hash)
        await submission.require_alive()
        # An accepted job must survive the loss of the database, or a restore from a backup.
        await self._ports.results.put(
            submission_blob(job.id), job.model_dump_json().encode(), content_type="application/json"
        )
        if submission.life is not None:
            # The job's first step deletes the marker, so no marker may be written after that step.
            await submission.life.stop()
        await self._dispatcher.send(
            JobMessage(job_id=job.id, attempt=job.attempt, step="plan", traceparent=traceparent)
        )
        submission.accepted = True
        logger.info(
            "job accepted",
            extra={"action": "job_accepted", "job_id": job.id, "files": len(job.files)},
        )
        return Accepted(stored, replayed=False)

    async def replay(self, earlier: Job, fingerprint: str | None) -> Accepted:
        """Return the job of a request whose idempotency key was used before.

        Raises:
            InvalidInput: The earlier request was a different one (code `idempotency_key_reused`).
            Unavailable: The queue does not respond. The process of the earlier request may have
                died before it sent the first message.
        """
        if earlier.request_hash != fingerprint:
            raise idempotency_key_reused()
        untouched = earlier.state == "queued" and earlier.heartbeat_at_utc == earlier.created_at_utc
        if untouched and self._clock() - earlier.created_at_utc >= UNSENT_AFTER:
            # An extra message does no harm. Without any message, an accepted job waits for the
            # sweeper.
            again = JobMessage(
                job_id=earlier.id,
                attempt=earlier.attempt,
                step="plan",
                traceparent=earlier.traceparent,
            )
            await self._dispatcher.send(again)
            logger.info(
                "first message sent again",
                extra={"action": "first_message_resent", "job_id": earlier.id},
            )
        return Accepted(earlier, replayed=True)

    async def _earlier(self, submission: Submission) -> Job | None:
        key = submission.idempotency_key
        return None if key is None else await self._ports.jobs.find_by_key(submission.owner, key)

    async def retry_cleaning(self) -> int:
        """Retry deletions that failed before; return the number of submissions that remain."""
        for job_id in sorted(self._doubtful):
            await self._settle_doubt(job_id)
        for job_id in sorted(self._unfinished):
            await self._undo(job_id)
        return len(self._unfinished) + len(self._doubtful)

    async def _leave(self, submission: Submission) -> None:
        if submission.room is not None:
            await submission.room.end()
        if submission.recorded and submission.idempotency_key is not None:
            # The same request may have returned this job already, or may still do so. An existing
            # record is therefore retained.
            self._doubtful.add(submission.job_id)
            logger.warning(
                "recorded, but not accepted",
                extra={"action": "submission_doubtful", "job_id": submission.job_id},
            )
        else:
            if submission.recorded:
                self._recorded.add(submission.job_id)
            await self._undo(submission.job_id)

    async def _settle_doubt(self, job_id: str) -> None:
        """Settle a submission of which it is unknown whether its job was recorded.

        A recorded job is retained; if its first message was not sent, the sweeper sends it. Blobs
        without a job are deleted.
        """
        try:
            if not await self._ports.jobs.outlines([job_id]):
                self._unfinished.add(job_id)
        except MusterError:
            return
        self._doubtful.discard(job_id)

    async def _undo(self, job_id: str) -> None:
        tombstone = Tombstone(job_id=job_id, reason="refused", written_at_utc=self._clock())
        try:
            if job_id in self._recorded:
                # The first message may have been sent. The tombstone tells the worker not to wait
                # for the record.
                await self._ports.ledger.bury(tombstone)
            # The record is deleted first. While it may exist, its blobs remain, because a worker
            # may receive a message to use them.
            await self._ports.jobs.delete(job_id)
            await clear_submission(self._ports.sources, job_id)
            if job_id in self._recorded:
                await self._ports.results.delete_prefix(job_prefix(job_id))
                await self._ports.ledger.finish(tombstone, at=self._clock())
        except MusterError as error:
            self._unfinished.add(job_id)
            logger.warning(
                "a refused submission could not be deleted yet",
                extra={"action": "undo_postponed", "job_id": job_id, "code": error.code},
            )
            return
        self._unfinished.discard(job_id)
        self._recorded.discard(job_id)


async def clear_submission(sources: BlobStore, job_id: str) -> int:
    """Delete the blobs of a submission that has no job.

    The marker is deleted last: while it exists, the sweeper can finish the deletion. Idempotent.

    Returns:
        The number of blobs that existed, including those with staged blocks only.

    Raises:
        Unavailable: Storage does not respond.
    """
    names: list[str] = []
    cursor: str | None = None
    while True:
        page = await sources.page(job_prefix(job_id), limit=_PAGE, cursor=cursor)
        names += [info.name for info in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    marker = submitting_blob(job_id)
    for name in sorted(set(names) - {marker}):
        await sources.purge(name)
    await sources.delete(marker)
    return len(set(names))


async def job_of(ports: Ports, job_id: str, *, owner: str | None) -> Job:
    """Read a job that this owner may see. None stands for a caller that may see all jobs.

    Raises:
        NotFound: The job does not exist, or belongs to another owner; the store looks up both in
            the same way (code `job_not_found`).
    """
    return await ports.jobs.get(job_id, owner=owner)
