"""Orphans: blobs that no job needs.

They are the remains of submissions that died, uploads that were never used, and superseded results.

A blob is deleted only if this installation has marked it. The mark is a tombstone in the database,
or a marker that the unfinished submission or the upload link has written and that carries this
storage's identity. A missing record alone permits no deletion: such blobs are counted and reported.
Blobs that a marker permits to delete must also be old by the storage's own clock, so that slow
submissions and wrong clocks do no harm. Several processes may run this at the same time, because
deletions are idempotent.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.domain.blobs import (
    JOBS_PREFIX,
    LINK_SUFFIX,
    UPLOADS_PREFIX,
    job_of_folder,
    job_prefix,
    link_blob,
    log_prefix,
    result_blob,
    results_prefix,
    revision_attempt,
    submission_blob,
    submitting_blob,
)
from core.domain.clock import Clock
from core.domain.housekeeping import READ_LIFE
from core.domain.identity import StorageMark
from core.errors import NotFound
from core.ports import BlobInfo, BlobStore, JobOutline, Ports
from core.services.housekeeping.unclaimed import Tally, Unclaimed
from core.services.housekeeping.walks import PAGE, Walk, all_blobs, every
from core.services.submission.submit import clear_submission

logger = logging.getLogger(__name__)

_DELETES_AT_ONCE = 8
_SETTLED_AFTER = timedelta(days=1)
_REMEMBERED = 100_000


@dataclass(slots=True)
class Cleared:
    """The number of blobs that were deleted in one run.

    Attributes:
        orphans: Blobs of submissions that died.
        uploads: Uploads that no job used.
        unpublished: Blobs of revisions that were never published or were replaced.
        buried: Late blobs of deleted jobs.
    """

    orphans: int = 0
    uploads: int = 0
    unpublished: int = 0
    buried: int = 0


@dataclass(frozen=True, slots=True)
class _Published:
    """The published revision of a job.

    Attributes:
        attempt: The attempt that made it. Results of earlier attempts may have been published
            before.
        is_gone: Whether storage has none of its files, as after a restore of the database. Other
            revisions may then be the only results.
        is_new: Whether downloads of the previous results may still run.
    """

    attempt: int
    is_gone: bool
    is_new: bool


class Orphans:
    """The use case.

    Args:
        ports: The ports of the process.
        clock: Returns the current time of the job store.
        least_age: Blobs that changed more recently are not deleted. It is several times the
            interval at which submissions renew their marker.
        upload_life: How long a direct-upload link is valid.
        reported_age: Blobs that changed more recently are not counted as unclaimed; None: as
            `least_age`.
        dry_run: Count what would be deleted, but delete nothing.
        on_unclaimed: Called with everything that has no record, tombstone or marker.
        read_life: How long superseded results are retained for clients that are reading them.
    """

    def __init__(
        self,
        ports: Ports,
        clock: Clock,
        *,
        least_age: timedelta,
        upload_life: timedelta,
        reported_age: timedelta | None = None,
        dry_run: bool = False,
        on_unclaimed: Callable[[Unclaimed], None] | None = None,
        read_life: timedelta = READ_LIFE,
    ) -> None:
        self._ports = ports
        self._clock = clock
        self._least_age = least_age
        self._reported_age = least_age if reported_age is None else reported_age
        self._upload_life = upload_life
        self._read_life = max(read_life, least_age)
        self._dry_run = dry_run
        self._walks = {name: Walk() for name in ("uploads", "sources", "results")}
        self._tally = Tally(self._walks, on_unclaimed)
        self._settled: OrderedDict[str, int] = OrderedDict()

    async def run(self, *, pages: int | None = 20) -> Cleared:
        """Examine the next part of both containers.

        Args:
            pages: Most pages of 500 uploads and of 500 jobs in each container; None: all.

        Returns:
            The numbers of deleted blobs.

        Raises:
            Unavailable: Storage or database does not respond; the next run finds the remaining
                blobs.
        """
        cleared = Cleared()
        await self._uploads(cleared, pages)
        await self._folders("sources", self._ports.sources, cleared, pages)
        await self._folders("results", self._ports.results, cleared, pages)
        if not self._dry_run:
            await self._tally.write_down(self._ports.ledger, self._clock())
        return cleared

    async def _uploads(self, cleared: Cleared, most: int | None) -> None:
        store = self._ports.sources
        # The age counts from the last write. The link allowed that write, so by now the link has
        # expired, too.
        before = await store.now() - self._upload_life - self._least_age
        walk = self._walks["uploads"].pages(
            lambda cursor: store.page(UPLOADS_PREFIX, limit=PAGE, cursor=cursor), most
        )
        async with aclosing(walk) as pages:
            async for infos in pages:
                old = [info for info in infos if info.modified_at_utc < before]
                for link in [info.name for info in old if info.name.endswith(LINK_SUFFIX)]:
                    await self._clear_link(store, link)
                for info in [info for info in old if not info.name.endswith(LINK_SUFFIX)]:
                    cleared.uploads += await self._clear_upload(store, info)
        self._ended("uploads")

    async def _clear_link(self, store: BlobStore, link: str) -> None:
        """Delete the marker of an expired link whose upload never happened or became a job."""
        upload = link.removesuffix(LINK_SUFFIX)
        beside = await store.page(upload, limit=2)
        if upload not in [info.name for info in beside.items] and await self._allows(store, link):
            await self._purge(store, [link])

    async def _clear_upload(self, store: BlobStore, info: BlobInfo) -> int:
        link = link_blob(info.name)
        if not await self._allows(store, link):
            self._tally.add("uploads", Unclaimed.of("uploads", info.name, [info]))
            return 0
        await self._purge(store, [info.name])
        # Deleted last, because while the marker exists, a later run can finish what this one began.
        await self._purge(store, [link])
        logger.info(
            "an unused upload was deleted",
            extra={"action": "upload_cleared", "blob": info.name},
        )
        return 1

    async def _folders(
        self, name: str, store: BlobStore, cleared: Cleared, most: int | None
    ) -> None:
        before = await store.now() - self._least_age
        walk = self._walks[name].pages(
            lambda cursor: store.folders(JOBS_PREFIX, limit=PAGE, cursor=cursor), most
        )
        async with aclosing(walk) as pages:
            async for folders in pages:
                ids = [
                    job_id
                    for folder in dict.fromkeys(folders)
                    if (job_id := job_of_folder(folder)) is not None
                ]
                outlines = await self._ports.jobs.outlines(ids)
                await self._without_record(
                    name,
                    store,
                    [job_id for job_id in ids if job_id not in outlines],
                    before,
                    cleared,
                )
                for job_id, outline in outlines.items():
                    if (
                        name == "results"
                        and outline.is_terminal
                        and self._settled.get(job_id) != outline.attempt
                    ):
                        cleared.unpublished += await self._clear_revisions(job_id, outline, before)
        self._ended(name)

    async def _without_record(
        self, name: str, store: BlobStore, ids: Collection[str], before: datetime, cleared: Cleared
    ) -> None:
        buried = await self._ports.ledger.tombstones(ids) if ids else {}
        for job_id in ids:
            blobs = await all_blobs(store, job_prefix(job_id))
            if job_id in buried:
                # A worker wrote them before it noticed the deletion.
                await self._purge(store, [info.name for info in blobs])
                cleared.buried += len(blobs)
                logger.info(
                    "blobs of a deleted job were deleted",
                    extra={"action": "buried_cleared", "job_id": job_id, "blobs": len(blobs)},
                )
            elif blobs:
                await self._unexplained(name, store, job_id, blobs, before, cleared)

    async def _unexplained(
        self,
        name: str,
        store: BlobStore,
        job_id: str,
        blobs: list[BlobInfo],
        before: datetime,
        cleared: Cleared,
    ) -> None:
        newest = max(info.modified_at_utc for info in blobs)
        is_marked = (
            name == "sources"
            and await self._allows(store, submitting_blob(job_id))
            and not await self._was_recorded(job_id)
        )
        # Checked again, because the submission may have ended in the meantime.
        if newest >= (
            before if is_marked else before + self._least_age - self._reported_age
        ) or await self._ports.jobs.outlines([job_id]):
            return
        if not is_marked:
            self._tally.add(name, Unclaimed.of(name, job_id, blobs))
            return
        cleared.orphans += len(blobs) if self._dry_run else await clear_submission(store, job_id)
        extra = {"action": "submission_cleared", "job_id": job_id, "blobs": len(blobs)}
        logger.warning("blobs of an unfinished submission were deleted", extra=extra)

    async def _allows(self, store: BlobStore, marker: str) -> bool:
        """Return whether a marker exists and carries this storage's identity."""
        try:
            mark = StorageMark.from_bytes(await store.get(marker))
        except NotFound:
            return False
        own = await self._ports.ledger.identity()
        return mark is not None and own is not None and own.owns(mark.identity)

    async def _was_recorded(self, job_id: str) -> bool:
        """Return whether a submission was recorded as a job.

        If so, the job's record was lost, and a remaining marker permits no deletion.
        """
        try:
            await self._ports.results.info(submission_blob(job_id))
        except NotFound:
            return False
        return True

    async def _clear_revisions(self, job_id: str, outline: JobOutline, before: datetime) -> int:
        """Delete the revisions of ended attempts, except the published one.

        The fence prevents these revisions from being published later. The job's record names the
        published revision. Downloads of the previous one may continue for `read_life`.
        """
        store, gone, settled = (
            self._ports.results,
            0,
            self._clock() - outline.updated_at_utc >= _SETTLED_AFTER,
        )
        folders = [
            folder
            async for folder in every(
                lambda cursor: store.folders(results_prefix(job_id), limit=PAGE, cursor=cursor)
            )
        ]
        unpublished = {}
        for folder in folders:
            revision = folder.removeprefix(results_prefix(job_id))[:-1]
            attempt = revision_attempt(revision)
            if (
                attempt is not None
                and attempt <= outline.attempt
                and revision != outline.result_revision
            ):
                unpublished[revision] = folder
        published = await self._published(job_id, outline) if unpublished else None
        for revision, folder in unpublished.items():
            infos = await all_blobs(store, folder)
            is_fresh = (
                published is not None
                and published.is_new
                and (revision_attempt(revision) or 0) < published.attempt
            )
            newest = max((info.modified_at_utc for info in infos), default=before)
            if newest >= before or (published is not None and published.is_gone) or is_fresh:
                settled = False
                continue
            notes = [
                info.name
                async for info in store.list_blobs(log_prefix(job_id))
                if info.name.endswith(f"/{revision}.json")
            ]
            await self._purge(store, [*(info.name for info in infos), *notes])
            gone += len(infos) + len(notes)
            extra = {
                "action": "revision_cleared",
                "job_id": job_id,
                "revision": revision,
                "blobs": len(infos),
            }
            logger.info("superseded results were deleted", extra=extra)
        if settled and not self._dry_run:
            # Nothing is written to these revisions any more, so later runs skip the job.
            self._settled[job_id] = outline.attempt
            while len(self._settled) > _REMEMBERED:
                self._settled.popitem(last=False)
        return gone

    async def _published(self, job_id: str, outline: JobOutline) -> _Published | None:
        """Return the state of the published revision; None if nothing is published."""
        if outline.result_revision is None:
            return None
        infos = await all_blobs(
            self._ports.results, result_blob(job_id, outline.result_revision, "")
        )
        now = await self._ports.results.now()
        # The record's time comes from a worker's clock, that of the files from the storage's. To be
        # safe, the later of the two times must be long past by the earlier clock.
        at = max([outline.updated_at_utc, *(info.modified_at_utc for info in infos)])
        is_new = min(now, self._clock()) - at < self._read_life
        return _Published(
            revision_attempt(outline.result_revision) or 0, is_gone=not infos, is_new=is_new
        )

    async def _purge(self, store: BlobStore, names: Sequence[str]) -> None:
        if self._dry_run:
            return
        for start in range(0, len(names), _DELETES_AT_ONCE):
            await asyncio.gather(
                *(store.purge(name) for name in names[start : start + _DELETES_AT_ONCE])
            )

    def _ended(self, name: str) -> None:
        if self._walks[name].is_at_start:
            self._tally.end(name)
