"""Direct uploads: a client puts one file into blob storage through a link, without the API.

A job is made of the uploads afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.domain.access import LOCAL_OWNER
from core.domain.analysis import AnalysisSettings
from core.domain.blobs import LINK_SUFFIX, link_blob, upload_blob, uploads_of
from core.domain.clock import Clock
from core.domain.job import Job, SourceFile, TelemetryFile
from core.domain.quota import Hold
from core.domain.refusals import no_such_upload, upload_changed
from core.errors import Conflict, InvalidInput, MusterError, NotFound, PreconditionFailed, Throttled
from core.ports import Ports
from core.services.access.limits import Limits
from core.services.access.quotas import Quotas
from core.services.access.rooms import LinkRoom
from core.services.submission.files import (
    Submission,
    check_size,
    display_name,
    request_hash,
    telemetry_identity,
    webhook_identity,
)
from core.services.submission.submit import Accepted, Submissions

logger = logging.getLogger(__name__)

_UPLOAD_ID = re.compile(r"[0-9a-f]{32}")
MAX_STAGED = 1000
"""Most finished uploads of one owner that no job uses yet."""

_STAGED_RETRY_S = 600.0


@dataclass(frozen=True, slots=True)
class UploadLink:
    """The URL for one file, and its expiry. `headers` must be sent with the file."""

    upload_id: str
    url: str
    method: str
    headers: dict[str, str]
    expires_at_utc: datetime


@dataclass(frozen=True, slots=True)
class UploadedTelemetry:
    """A finished upload that is a drone's telemetry; `name` identifies the video it belongs to."""

    upload_id: str
    name: str | None = None

    def shown_name(self, index: int) -> str:
        """Return the name to display for the file as number `index` of its kind."""
        return display_name(self.name, index, kind="telemetry")


class Uploads:
    """The use cases around uploads: issue links, and make jobs of what was uploaded.

    Args:
        ports: The ports of the process.
        submissions: Makes the jobs.
        limits: The operator's limits.
        clock: Returns the current time.
        quotas: The quotas of owners; None: unlimited.
    """

    def __init__(
        self,
        ports: Ports,
        submissions: Submissions,
        limits: Limits,
        clock: Clock,
        quotas: Quotas | None = None,
    ) -> None:
        self._ports = ports
        self._submissions = submissions
        self._limits = limits
        self._clock = clock
        self._quotas = quotas or Quotas(ports.jobs, ports.keys, clock, day_bytes=0, active_jobs=0)

    async def create(self, *, owner: str, size_bytes: int | None) -> UploadLink:
        """Issue a link for one file, of which only its owner can make a job.

        Args:
            owner: The owner of the link.
            size_bytes: The file's size, if known. A file that is too large is then refused now, not
                after an hour of uploading.

        Raises:
            TooLarge: The size is over the operator's limit.
            Throttled: Together with unused uploads and other links, the link would exceed the
                owner's quota (codes `quota_bytes`, `quota_jobs`, `quota_uploads`, `quota_links`).
            Unavailable: Storage does not respond.
        """
        if size_bytes is not None:
            check_size(size_bytes, self._limits.max_upload_bytes)
        upload_id = uuid.uuid4().hex
        valid_for = timedelta(minutes=self._limits.upload_minutes)
        expires_at_utc = self._clock() + valid_for
        hold = await self._reserve(owner, upload_id, size_bytes, expires_at_utc)
        try:
            return await self._link(owner, upload_id, valid_for, expires_at_utc)
        except BaseException:
            if hold is not None:
                # Shielded, because a client that disconnects cancels the request but must not
                # cancel the cleanup.
                await asyncio.shield(asyncio.ensure_future(self._quotas.end_hold(owner, hold)))
            raise

    async def _link(
        self, owner: str, upload_id: str, valid_for: timedelta, expires_at_utc: datetime
    ) -> UploadLink:
        blob, identity = upload_blob(upload_id, owner=owner), await self._ports.ledger.identity()
        if identity is not None:
            # The marker is written before the link is issued. Without it, an unused upload would
            # never be deleted.
            await self._ports.sources.put(link_blob(blob), identity.mark.to_bytes())
        url = await self._ports.sources.upload_url(blob, valid_for=valid_for)
        return UploadLink(upload_id, url, "PUT", {"x-ms-blob-type": "BlockBlob"}, expires_at_utc)

    async def submit(
        self,
        upload_ids: Sequence[str],
        names: Sequence[str],
        settings: AnalysisSettings,
        *,
        owner: str,
        idempotency_key: str | None,
        telemetry: Sequence[UploadedTelemetry] = (),
        traceparent: str | None = None,
        webhook: str | None = None,
    ) -> Accepted:
        """Make a job of finished uploads.

        Args:
            upload_ids: The uploads, in the order of the recording.
            names: Names to display for the files; empty, or one per upload.
            settings: Checked settings.
            owner: The owner of the uploads.
            idempotency_key: The idempotency key of the request, if any.
            telemetry: Uploads that are a drone's telemetry instead of videos.
            traceparent: W3C trace context to pass on, if any.
            webhook: The checked URL to which the end of the job is reported, if any.

        Raises:
            InvalidInput: There are no upload ids, or duplicate ones, or the names are not one per
                id.
            NotFound: Nothing was uploaded under an id, or a job was made of the upload already
                (code `upload_not_found`).
            Conflict: A file was overwritten while the job was made (code `upload_changed`).
            Throttled: The job exceeds the owner's quota (codes `quota_bytes`, `quota_jobs`).
            UnsupportedMedia, InvalidTelemetry, TooLarge, Unavailable: As for a file sent to the
                API.
        """
        _check_request(upload_ids, names, telemetry)
        shown = [display_name(name, i) for i, name in enumerate(names or [""] * len(upload_ids))]
        fingerprint = _fingerprint(settings, upload_ids, shown, telemetry, webhook)
        # Looked up first, because the uploads of a request that succeeded no longer exist. Its
        # repetition must not fail for that reason.
        earlier = await self._earlier(owner, idempotency_key)
        if earlier is not None:
            return await self._submissions.replay(earlier, fingerprint)
        everything = [*upload_ids, *(item.upload_id for item in telemetry)]
        try:
            async with self._submissions.begin(
                owner=owner, idempotency_key=idempotency_key, uploads=everything
            ) as submission:
                submission.webhook = webhook
                await self._add_all(submission, upload_ids, shown, telemetry)
                accepted = await self._submissions.accept(
                    submission, settings, traceparent=traceparent
                )
        except (NotFound, Conflict):
            # The same request, sent at the same time, may have made its job of these uploads.
            earlier = await self._earlier(owner, idempotency_key)
            if earlier is None:
                raise
            return await self._submissions.replay(earlier, fingerprint)
        await self._clear(everything, owner)
        return accepted

    async def _earlier(self, owner: str, idempotency_key: str | None) -> Job | None:
        """Return the job that an earlier request with the same idempotency key made."""
        if not idempotency_key:
            return None
        return await self._ports.jobs.find_by_key(owner, idempotency_key)

    async def _reserve(
        self, owner: str, upload_id: str, size_bytes: int | None, until: datetime
    ) -> Hold | None:
        if owner == LOCAL_OWNER:
            return None
        prefix = uploads_of(owner)
        listed = self._ports.sources.list_blobs(prefix)
        staged = {
            blob.name.removeprefix(prefix): blob.size_bytes
            async for blob in listed
            if not blob.name.endswith(LINK_SUFFIX)
        }
        if len(staged) >= MAX_STAGED:
            raise Throttled(
                f"{len(staged)} of your uploads are unused. Submit jobs with them, or wait until "
                "they are deleted.",
                code="quota_uploads",
                retry_after_s=_STAGED_RETRY_S,
                limit=MAX_STAGED,
            )
        largest = self._limits.max_upload_bytes
        return await self._quotas.reserve_link(
            owner, upload_id, size_bytes=size_bytes, largest=largest, until=until, staged=staged
        )

    async def _add_all(
        self,
        submission: Submission,
        upload_ids: Sequence[str],
        names: Sequence[str],
        telemetry: Sequence[UploadedTelemetry],
    ) -> None:
        for upload_id, name in zip(upload_ids, names, strict=True):
            await self._add(submission.add_blob, upload_id, name, submission)
        for number, item in enumerate(telemetry):
            add, name = submission.add_telemetry_blob, item.shown_name(number)
            await self._add(add, item.upload_id, name, submission)

    async def _add(
        self,
        add: Callable[..., Awaitable[SourceFile | TelemetryFile]],
        upload_id: str,
        name: str,
        submission: Submission,
    ) -> None:
        room, blob = submission.room, upload_blob(upload_id, owner=submission.owner)
        try:
            if isinstance(room, LinkRoom):
                room.add(
                    upload_id,
                    (
                        await add(name, blob, identity=upload_id, at_most=room.declared(upload_id))
                    ).size_bytes,
                )
            else:
                await add(name, blob, identity=upload_id)
        except NotFound as error:
            raise no_such_upload(upload_id) from error
        except PreconditionFailed as error:
            raise upload_changed(upload_id) from error

    async def _clear(self, upload_ids: Sequence[str], owner: str) -> None:
        try:
            for upload_id in upload_ids:
                # The marker remains as long as the link is valid. If a client uploads again through
                # the link, the marker lets the sweeper delete that upload.
                await self._ports.sources.delete(upload_blob(upload_id, owner=owner))
        except MusterError as error:
            # The job has its own copy and is accepted. The sweeper deletes the remaining upload.
            logger.warning(
                "a used upload could not be deleted",
                extra={"action": "upload_left", "code": error.code},
            )


def _check_request(
    upload_ids: Sequence[str], names: Sequence[str], telemetry: Sequence[UploadedTelemetry]
) -> None:
    if not upload_ids:
        raise InvalidInput("upload_ids is empty. Send at least one upload id.", code="missing_file")
    everything = [*upload_ids, *(item.upload_id for item in telemetry)]
    if len(set(everything)) != len(everything):
        raise InvalidInput(
            "An upload id appears twice. Each file of a recording is its own upload.",
            code="doubled_upload",
        )
    if names and len(names) != len(upload_ids):
        raise InvalidInput(
            f"{len(upload_ids)} upload_ids but {len(names)} names. Send one name per id, or none.",
            code="names_differ",
        )
    for upload_id in everything:
        if not _UPLOAD_ID.fullmatch(upload_id):
            raise no_such_upload(upload_id)


def _fingerprint(
    settings: AnalysisSettings,
    upload_ids: Sequence[str],
    shown: Sequence[str],
    telemetry: Sequence[UploadedTelemetry],
    webhook: str | None,
) -> str:
    identities = [f"{name}\n{upload}" for name, upload in zip(shown, upload_ids, strict=True)]
    identities += [
        telemetry_identity(item.shown_name(i), item.upload_id) for i, item in enumerate(telemetry)
    ]
    return request_hash(settings, identities + webhook_identity(webhook))
