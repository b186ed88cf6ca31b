"""How the sweeper tells a slow submission from one whose process died: a slow one leaves a sign of life beside its blobs."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from types import TracebackType

from core.domain.blobs import submitting_blob
from core.domain.clock import Clock
from core.domain.job import SourceFile
from core.errors import MusterError, NotFound, PreconditionFailed, Unavailable
from core.ports import BlobStore

logger = logging.getLogger(__name__)

ALIVE_EVERY = timedelta(minutes=5)
"""How often a submission that is still being written says so. What shows no sign for several times as long is given up by the sweeper."""


class SubmissionLife:
    """Writes the sign of life of one submission, from entering the context until leaving it. Quick ones, which are most, write none.

    Args:
        sources: Where the submission's blobs are.
        job_id: The id that its job will have.
        clock: Tells the time.
        every: How often to write.
    """

    def __init__(self, sources: BlobStore, job_id: str, clock: Clock, *, every: timedelta = ALIVE_EVERY) -> None:
        self._sources = sources
        self._name = submitting_blob(job_id)
        self._clock = clock
        self._every = every
        self._seen_at: datetime = clock()
        self._written = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SubmissionLife:
        self._task = asyncio.create_task(self._keep(), name="submission-life")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # Awaited: a sign written after the submission was cleared away would be all that is left of it.
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._written:
            try:
                await self._sources.delete(self._name)
            except MusterError as error:
                # It goes with the job, or with what the sweeper clears.
                logger.info("a sign of life stays", extra={"action": "submission_sign_left", "code": error.code})

    async def require(self, files: tuple[SourceFile, ...]) -> None:
        """Make sure that the sweeper has not taken a submission for dead, which it may where this process stood still for long.

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
                    "The upload took too long and was given up by the server. Send it again.", code="submission_expired"
                ) from error

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._every.total_seconds())
            self._written = True
            try:
                await self._sources.put(self._name, b"")
            except MusterError as error:
                logger.warning("no sign of life written: %s", error.message, extra={"action": "submission_sign_failed", "code": error.code})
            else:
                self._seen_at = self._clock()
