"""Delete blobs that are nobody's: what a submission that died has left, what was uploaded and never used, results that nobody will see.

A blob is deleted only when it has not changed for long by the storage's own clock, so that neither a slow submission nor a clock that is
wrong costs anything. Several of these at once do no harm: deleting twice is deleting.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from core.domain.blobs import JOBS_PREFIX, UPLOADS_PREFIX, job_prefix, log_prefix, results_prefix, revision_attempt
from core.domain.clock import Clock
from core.errors import PermanentError
from core.ports import BlobStore, JobOutline, Page, Ports

logger = logging.getLogger(__name__)

_ID = re.compile(r"[0-9a-f]{32}")
_PAGE = 500
_DELETES_AT_ONCE = 8
_SETTLED_AFTER = timedelta(days=1)
_REMEMBERED = 100_000

T = TypeVar("T")


@dataclass(slots=True)
class Cleared:
    """How many were deleted in one run: blobs of no job, unclaimed uploads, blobs of revisions that nobody will see."""

    orphans: int = 0
    uploads: int = 0
    unpublished: int = 0


class _Walk:
    """A walk through a listing, a few pages at each call, from where the last call stopped; at the end it begins anew."""

    def __init__(self) -> None:
        self._cursor: str | None = None

    async def pages(self, read: Callable[[str | None], Awaitable[Page]], most: int | None) -> AsyncGenerator[list]:
        number = 0
        while most is None or number < most:
            number += 1
            try:
                page = await read(self._cursor)
            except PermanentError:
                # Perhaps the service knows this place no more.
                self._cursor = None
                raise
            yield page.items
            # Only now: a page that could not be worked off is read again.
            self._cursor = page.next_cursor
            if self._cursor is None:
                return


class Orphans:
    """The use case.

    Args:
        ports: Where blobs and jobs are.
        clock: Tells the time of the job store.
        least_age: What has changed since is left alone; several times as long as submissions take from one sign of life to the next.
        upload_life: How long a direct-upload link works.
    """

    def __init__(self, ports: Ports, clock: Clock, *, least_age: timedelta, upload_life: timedelta) -> None:
        self._ports = ports
        self._clock = clock
        self._least_age = least_age
        self._upload_life = upload_life
        self._walks = {name: _Walk() for name in ("uploads", "sources", "results")}
        self._settled: OrderedDict[str, int] = OrderedDict()

    async def run(self, *, pages: int | None = 20) -> Cleared:
        """Look through the next part of both containers.

        Args:
            pages: Most pages of 500 uploads and of 500 jobs in each container; None: all.

        Returns:
            What was deleted.

        Raises:
            Unavailable: Storage or database does not answer; what is left is found by the next run.
        """
        cleared = Cleared()
        await self._uploads(cleared, pages)
        await self._folders("sources", self._ports.sources, cleared, pages)
        await self._folders("results", self._ports.results, cleared, pages)
        return cleared

    async def _uploads(self, cleared: Cleared, most: int | None) -> None:
        store = self._ports.sources
        # Counted from the last write, which the link allowed: so the link is dead, too.
        before = await store.now() - self._upload_life - self._least_age
        walk = self._walks["uploads"].pages(lambda cursor: store.page(UPLOADS_PREFIX, limit=_PAGE, cursor=cursor), most)
        async with aclosing(walk) as pages:
            async for infos in pages:
                old = [info.name for info in infos if info.modified_at_utc < before]
                await _purge(store, old)
                cleared.uploads += len(old)
                for name in old:
                    logger.info("an upload that no job was made of was deleted", extra={"action": "upload_cleared", "blob": name})

    async def _folders(self, name: str, store: BlobStore, cleared: Cleared, most: int | None) -> None:
        before = await store.now() - self._least_age
        walk = self._walks[name].pages(lambda cursor: store.folders(JOBS_PREFIX, limit=_PAGE, cursor=cursor), most)
        async with aclosing(walk) as pages:
            async for folders in pages:
                ids = [job_id for folder in dict.fromkeys(folders) if _ID.fullmatch(job_id := folder.removeprefix(JOBS_PREFIX)[:-1])]
                outlines = await self._ports.jobs.outlines(ids)
                for job_id in ids:
                    outline = outlines.get(job_id)
                    if outline is None:
                        cleared.orphans += await self._clear_job(store, job_id, before)
                    elif name == "results" and outline.is_terminal and self._settled.get(job_id) != outline.attempt:
                        cleared.unpublished += await self._clear_revisions(job_id, outline, before)

    async def _clear_job(self, store: BlobStore, job_id: str, before: datetime) -> int:
        blobs = await _all_if_old(store, job_prefix(job_id), before)
        # Asked again: a submission may have ended since.
        if not blobs or await self._ports.jobs.outlines([job_id]):
            return 0
        await _purge(store, blobs)
        logger.warning("blobs of no job were deleted", extra={"action": "orphan_cleared", "job_id": job_id, "blobs": len(blobs)})
        return len(blobs)

    async def _clear_revisions(self, job_id: str, outline: JobOutline, before: datetime) -> int:
        """Delete the revisions of attempts that have ended, all but the published one: no fence lets anybody publish them any more."""
        store, gone, settled = self._ports.results, 0, self._clock() - outline.updated_at_utc >= _SETTLED_AFTER
        async for folder in _every(lambda cursor: store.folders(results_prefix(job_id), limit=_PAGE, cursor=cursor)):
            revision = folder.removeprefix(results_prefix(job_id))[:-1]
            attempt = revision_attempt(revision)
            if attempt is None or attempt > outline.attempt or revision == outline.result_revision:
                continue
            blobs = await _all_if_old(store, folder, before)
            if not blobs:
                settled = False
                continue
            notes = [info.name async for info in store.list(log_prefix(job_id)) if info.name.endswith(f"/{revision}.json")]
            await _purge(store, [*blobs, *notes])
            gone += len(blobs) + len(notes)
            extra = {"action": "revision_cleared", "job_id": job_id, "revision": revision, "blobs": len(blobs)}
            logger.info("results that nobody will see were deleted", extra=extra)
        if settled:
            # Nobody writes to it any more: later runs need not look again.
            self._settled[job_id] = outline.attempt
            while len(self._settled) > _REMEMBERED:
                self._settled.popitem(last=False)
        return gone


async def _every(read: Callable[[str | None], Awaitable[Page[T]]]) -> AsyncGenerator[T]:
    cursor: str | None = None
    while True:
        page = await read(cursor)
        for item in dict.fromkeys(page.items):
            yield item
        cursor = page.next_cursor
        if cursor is None:
            return


async def _all_if_old(store: BlobStore, prefix: str, before: datetime) -> list[str]:
    """Return the names under a prefix, those with staged blocks only included; none if any of them has changed since `before`."""
    names: list[str] = []
    async with aclosing(_every(lambda cursor: store.page(prefix, limit=_PAGE, cursor=cursor))) as infos:
        async for info in infos:
            if info.modified_at_utc >= before:
                return []
            names.append(info.name)
    return names


async def _purge(store: BlobStore, names: Sequence[str]) -> None:
    for start in range(0, len(names), _DELETES_AT_ONCE):
        await asyncio.gather(*(store.purge(name) for name in names[start : start + _DELETES_AT_ONCE]))
