"""The marker of a submission that is not finished: it lets the sweeper delete the submission's
blobs, and keeps it from doing so early.

The marker is written beside the first block and is there before anything is committed. A slow
submission writes it again and again; what shows no sign of life for long is dead.
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
"""How often a submission that is still being written says so.

What shows no sign for several times as long is given up by the sweeper.
"""


class SubmissionLife:
    """Keeps the marker of one submission, from its first block until the context is left, or until
    `stop`.

    Args:
        sources: Where the submission's blobs are.
        job_id: The id that its job will have.
        identity: The storage's: a marker of another one allows nothing. None where the storage has
            none.
        clock: Tells the time.
        every: How often to write.
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
        """Begin to write the marker; returns at once. Idempotent."""
        if self._first is None:
            self._first = asyncio.create_task(self._write(), name="submission-marker")
            self._again = asyncio.create_task(self._keep(), name="submission-life")

    async def marked(self) -> None:
        """Return when the marker is there. To be awaited before anything is committed.

        Raises:
            Unavailable: Storage does not answer.
        """
        self.begin()
        assert self._first is not None
        # Shielded: a request that is cancelled must not stop a write of which nobody then knows
        # whether it was done.
        await asyncio.shield(self._first)

    async def stop(self) -> None:
        """Write no more: a marker written after the submission was cleared away would be all that
        is left of it. Idempotent.
        """
        if self._again is not None:
            self._again.cancel()
        tasks = {task for task in (self._first, self._again) if task is not None}
        if tasks:
            done, _ = await asyncio.wait(tasks)
            for task in done:
                # Looked at and not raised: a submission that needed the marker has been told by
                # `marked`.
                task.cancelled() or task.exception()

    async def erase(self) -> None:
        """Delete the marker, if one was written: the record of the job stands.

        Raises nothing; the first step deletes it, too.
        """
        await self.stop()
        if self._first is not None:
            await erase_marker(self._sources, self._job_id)

    async def require(self, files: tuple[SourceFile, ...]) -> None:
        """Make sure that the sweeper has not taken a submission for dead, which it may where this
        process stood still for long.

        Raises:
            Unavailable: It has: the blobs are gone (code `submission_expired`).
        """
        if self._clock() - self._seen_at < 2 * self._every:
            return
        for file in files:
            try:
                info = await self._sources.info(file.blob)
                if info.etag != file.etag:
                    raise PreconditionFailed("Another blob has this name by now.")
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
                    "no sign of life written: %s",
                    error.message,
                    extra={"action": "submission_sign_failed", "code": error.code},
                )


async def erase_marker(sources: BlobStore, job_id: str) -> None:
    """Delete the marker of a submission whose job is recorded.

    Raises nothing; the first step deletes it, too. Idempotent.
    """
    try:
        await sources.delete(submitting_blob(job_id))
    except MusterError as error:
        logger.info(
            "a submission's marker stays",
            extra={"action": "submission_marker_left", "code": error.code},
        )
