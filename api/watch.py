"""The watching of jobs: one task polls the store for all clients that watch the same job."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from core.domain.job import Job
from core.errors import NotFound, TransientError
from core.ports import JobStore

logger = logging.getLogger(__name__)


class _Watched:
    """One watched job: its newest version, the number of its versions, and the polling task."""

    def __init__(self) -> None:
        self.job: Job | None = None
        self.gone = False
        self.version = 0
        self.watchers = 0
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def announce(self) -> None:
        self.version += 1
        self.changed.set()
        self.changed = asyncio.Event()


class JobWatchers:
    """The watched jobs, which are yielded when they change.

    Args:
        store: The store of jobs.
        interval_s: Time between two polls of a job.
        sleep: Waits. Tests pass their own.
    """

    def __init__(
        self,
        store: JobStore,
        *,
        interval_s: float = 0.25,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._interval_s = interval_s
        self._sleep = sleep
        self._watched: dict[str, _Watched] = {}

    @property
    def polled(self) -> tuple[str, ...]:
        """Ids of the jobs that are being polled."""
        return tuple(self._watched)

    async def changes(self, job_id: str) -> AsyncGenerator[Job]:
        """Yield the job now and after each change, until it is deleted.

        A slow reader may miss versions but gets the newest one.
        """
        watched = self._watched.get(job_id)
        if watched is None:
            watched = self._watched[job_id] = _Watched()
            watched.task = asyncio.create_task(self._poll(job_id, watched))
        watched.watchers += 1
        seen = 0
        try:
            while True:
                while watched.version == seen:
                    await watched.changed.wait()
                seen = watched.version
                if watched.gone or watched.job is None:
                    return
                yield watched.job
        finally:
            watched.watchers -= 1
            if watched.watchers == 0:
                self._watched.pop(job_id, None)
                if watched.task is not None:
                    watched.task.cancel()

    async def _poll(self, job_id: str, watched: _Watched) -> None:
        while not watched.gone:
            try:
                job = await self._store.get(job_id)
            except NotFound:
                watched.gone = True
                watched.announce()
            except TransientError as error:
                logger.warning(
                    "watched job could not be read",
                    extra={"action": "watch_paused", "job_id": job_id, "code": error.code},
                )
            else:
                if watched.job is None or _visible(job) != _visible(watched.job):
                    watched.job = job
                    watched.announce()
            await self._sleep(self._interval_s)


def _visible(job: Job) -> tuple[Any, ...]:
    # A heartbeat alone is not a change that clients need.
    return (
        job.state,
        job.attempt,
        job.done_segments,
        job.rendered_frames,
        job.result_revision,
        job.error,
        job.waiting,
        job.plan is None,
    )
