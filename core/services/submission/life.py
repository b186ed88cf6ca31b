"""The marker of an unfinished submission.

The marker lets the sweeper delete the submission's blobs, and prevents it from doing so too early.

The marker is written together with the first block, and exists before anything is committed. A slow
submission renews it periodically. A submission whose marker was not renewed for long is dead.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from types import TracebackType

from core.domain.blobs import submitting_blob
from core.domain.clock import Clock
from core.domain.identity import StorageIdentity
from core.domain.job import SourceFile
from core.errors import MusterError, NotFound, PreconditionFailed, Unavailable
from core.ports import BlobStore

logger = logging.getLogger(__name__)

ALIVE_EVERY = timedelta(minutes=5)
"""How often the marker of a running submission is renewed.

The sweeper considers a submission dead when its marker was not renewed for several times as long.
"""


class SubmissionLife:
    """Renews the marker of one submission.

    The renewal starts with the first block, and ends when the context is left or with `stop`.

    Args:
        sources: The blob store of the submission.
        job_id: The id that the job will have.
        identity: The identity of the storage; a marker with another identity permits no deletion.
            None if the storage has none.
        clock: Returns the current time.
        every: The interval between renewals.
    """

    def __init__(
        self,
        sources: BlobStore,
        job_id: str,
        identity: StorageIdentity | None,
        clock: Clock,
        *,
        every: timedelta = ALIVE_EVERY,
    ) -> None:
        self._sources = sources
        self._job_id = job_id
        self._body = b"" if identity is None else identity.mark.to_bytes()
        self._clock = clock
        self._every = every
        self._seen_at: datetime = clock()
        self._first: asyncio.Task[object] | None = None
        self._again: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SubmissionLife:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def begin(self) -> None:
        """Start to write the marker; return at once. Idempotent."""
        if self._first is None:
            self._first = asyncio.create_task(self._write(), name="submission-marker")
            self._again = asyncio.create_task(self._keep(), name="submission-life")

    async def marked(self) -> None:
        """Wait until the marker is written. Must be awaited before anything is committed.

        Raises:
            Unavailable: Storage does not respond.
        """
        self.begin()
        assert self._first is not None
        # Shielded, because a cancelled request must not interrupt a write. It would then be unknown
        # whether the write was done.
        await asyncio.shield(self._first)

    async def stop(self) -> None:
        """Stop writing the marker. Idempotent.

        A marker that is written after the submission was cleared would become an orphan.
        """
        if self._again is not None:
            self._again.cancel()
        tasks = {task for task in (self._first, self._again) if task is not None}
        if tasks:
            done, _ = await asyncio.wait(tasks)
            for task in done:
                # The exception is retrieved but not raised, because `marked` has raised it already
                # to a submission that needed the marker.
                task.cancelled() or task.exception()

    async def erase(self) -> None:
        """Delete the marker, if one was written, once the job is recorded.

        Raises nothing, because the job's first step deletes the marker, too.
        """
        await self.stop()
        if self._first is not None:
            await erase_marker(self._sources, self._job_id)

    async def require(self, files: tuple[SourceFile, ...]) -> None:
        """Check that the sweeper has not deleted the submission.

        The sweeper may do so when this process was suspended for long.

        Raises:
            Unavailable: The blobs were deleted (code `submission_expired`).
        """
        if self._clock() - self._seen_at < 2 * self._every:
            return
        for file in files:
            try:
                info = await self._sources.info(file.blob)
                if info.etag != file.etag:
                    raise PreconditionFailed("Another blob has this name now.")
            except (NotFound, PreconditionFailed) as error:
                raise Unavailable(
                    "The upload took too long, so the server dropped it. Send it again.",
                    code="submission_expired",
                ) from error

    async def _write(self) -> None:
        await self._sources.put(submitting_blob(self._job_id), self._body)
        self._seen_at = self._clock()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._every.total_seconds())
            try:
                await self._write()
            except MusterError as error:
                logger.warning(
                    "the submission's marker was not renewed: %s",
                    error.message,
                    extra={"action": "submission_sign_failed", "code": error.code},
                )


async def erase_marker(sources: BlobStore, job_id: str) -> None:
    """Delete the marker of a submission whose job is recorded.

    Raises nothing, because the job's first step deletes the marker, too. Idempotent.
    """
    try:
        await sources.delete(submitting_blob(job_id))
    except MusterError as error:
        logger.info(
            "a submission's marker could not be deleted",
            extra={"action": "submission_marker_left", "code": error.code},
        )
