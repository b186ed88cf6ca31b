"""The files of one request on their way into storage.

Each file is named, sniffed and counted, and hashed where the hash is used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import datetime
from typing import Any

from core.domain.analysis import AnalysisSettings
from core.domain.blobs import source_blob, telemetry_blob
from core.domain.job import Job, SourceFile, TelemetryFile, new_job_id
from core.domain.names import visible
from core.domain.refusals import video_too_large
from core.errors import InvalidInput, TooLarge
from core.ports import Ports
from core.services.access.limits import Limits
from core.services.access.rooms import Room
from core.services.submission import telemetry
from core.services.submission.life import SubmissionLife
from core.services.submission.media_sniff import SNIFF_BYTES, sniff

MAX_NAME_LENGTH = 200


def display_name(name: str | None, index: int, *, kind: str = "video") -> str:
    """Return a file name that is safe to display.

    The result is the last component of the name, limited in length and without characters that
    control the terminal or change the text direction.

    Args:
        name: The name that the client sent; may be a path of any system, or None.
        index: Position of the file in the recording, used for a file without a usable name.
        kind: The kind of file, used for a file without a usable name.
    """
    shown = visible((name or "").replace("\\", "/").rstrip("/").rpartition("/")[2])
    if shown in ("", ".", ".."):
        return f"{kind}-{index + 1}"
    return shown[:MAX_NAME_LENGTH]


class Submission:
    """The files of one request, as they arrive.

    Attributes:
        job_id: The id that the job will have.
        accepted: Whether the job is safe, so that leaving the submission deletes nothing.
        recorded: Whether the job may have been recorded, even if the store reported a failure.
        life: Marks the submission as unfinished while its files are being written.
        webhook: The URL to which the end of the job is reported, if any.
        traceparent: W3C trace context of the request, if any.
        room: The room that the owner's quota leaves for the files; None: unlimited.
    """

    def __init__(
        self, ports: Ports, limits: Limits, *, owner: str, idempotency_key: str | None
    ) -> None:
        self.job_id = new_job_id()
        self.accepted = False
        self.recorded = False
        self.life: SubmissionLife | None = None
        self.webhook: str | None = None
        self.traceparent: str | None = None
        self.room: Room | None = None
        self.owner = owner
        self.idempotency_key = idempotency_key
        self.size_bytes = 0
        self._ports = ports
        self._max_bytes = limits.max_upload_bytes
        self._max_files = limits.max_files
        self._files: list[SourceFile] = []
        self._telemetry: list[TelemetryFile] = []
        self._identities: list[str] = []
        self._telemetry_identities: list[str] = []

    async def add_stream(self, name: str | None, chunks: AsyncIterator[bytes]) -> SourceFile:
        """Write one file from a stream as it arrives. A refused file is not committed.

        Raises:
            UnsupportedMedia: The first bytes are not those of a video.
            InvalidInput: The file is empty (`empty_file`), or there are too many files
                (`too_many_files`).
            TooLarge: The submission exceeds the operator's limit.
        """
        index = self._next_index()
        # Hashing costs as much as the rest of an upload. It is therefore done only where a response
        # can depend on the hash.
        digest = hashlib.sha256() if self.idempotency_key else None
        checked = self._checked(display_name(name, index), chunks, digest)
        async with aclosing(checked):
            info = await self._ports.sources.put_stream(source_blob(self.job_id, index), checked)
        identity = f"sha256:{digest.hexdigest()}" if digest else ""
        return self._keep(
            SourceFile(
                name=display_name(name, index),
                blob=info.name,
                size_bytes=info.size_bytes,
                etag=info.etag,
            ),
            identity,
        )

    async def add_blob(
        self, name: str | None, blob: str, *, identity: str, at_most: int | None = None
    ) -> SourceFile:
        """Copy a staged blob to the job.

        Args:
            name: The name to display for the file.
            blob: Name of the staged blob.
            identity: Text that identifies this file when the request is repeated.
            at_most: The size that was declared for the file, if any.

        Raises:
            NotFound: The blob does not exist.
            UnsupportedMedia, InvalidInput, TooLarge: As `add_stream`; or the blob is larger than
                declared (code `larger_than_declared`).
            PreconditionFailed: The blob was overwritten between the check and the copy.
        """
        index = self._next_index()
        shown = display_name(name, index)
        sources = self._ports.sources
        info = await sources.info(blob)
        if info.size_bytes == 0:
            raise _empty(shown)
        _check_declared(shown, info.size_bytes, at_most)
        await self._count(info.size_bytes)
        async with aclosing(
            sources.stream(blob, length=min(SNIFF_BYTES, info.size_bytes), if_match=info.etag)
        ) as pieces:
            sniff(b"".join([piece async for piece in pieces]))
        await self._marked()
        copied = await sources.copy(blob, source_blob(self.job_id, index), if_match=info.etag)
        return self._keep(
            SourceFile(
                name=shown, blob=copied.name, size_bytes=copied.size_bytes, etag=copied.etag
            ),
            identity,
        )

    async def add_telemetry(self, name: str | None, chunks: AsyncIterator[bytes]) -> TelemetryFile:
        """Read one telemetry file to its end, and store it if it can be used.

        Raises:
            InvalidTelemetry: The file cannot be used; the code states the reason.
            InvalidInput: There are too many files (code `too_many_files`).
            TooLarge: The file, or the whole submission, exceeds a limit.
        """
        shown = self._next_telemetry_name(name)
        data = await telemetry.collected(shown, chunks)
        return await self._keep_telemetry(shown, data, f"sha256:{hashlib.sha256(data).hexdigest()}")

    async def add_telemetry_blob(
        self, name: str | None, blob: str, *, identity: str, at_most: int | None = None
    ) -> TelemetryFile:
        """Copy a staged telemetry file to the job. Arguments as `add_blob`.

        Raises:
            NotFound: The blob does not exist.
            PreconditionFailed: The blob was overwritten between two reads.
            InvalidTelemetry, InvalidInput, TooLarge: As `add_telemetry`.
        """
        shown = self._next_telemetry_name(name)
        info = await self._ports.sources.info(blob)
        telemetry.check_telemetry_size(shown, info.size_bytes)
        _check_declared(shown, info.size_bytes, at_most)
        return await self._keep_telemetry(
            shown, await self._ports.sources.get(blob, if_match=info.etag), identity
        )

    async def require_alive(self) -> None:
        """Check that the written files still exist. Raises as `SubmissionLife.require`."""
        if self.life is not None:
            await self.life.require(tuple(self._files))

    def make_job(self, settings: AnalysisSettings, now: datetime) -> Job:
        """Return the job that this submission requests.

        Raises:
            InvalidInput: No file was added (code `missing_file`), or a telemetry file matches no
                video (`telemetry_unmatched`).
        """
        if not self._files:
            raise InvalidInput(
                "The request has no video. Send at least one part named 'file'.",
                code="missing_file",
            )
        identities = [
            *self._identities,
            *self._telemetry_identities,
            *webhook_identity(self.webhook),
        ]
        return Job(
            id=self.job_id,
            owner=self.owner,
            settings=settings,
            files=telemetry.paired(self._files, self._telemetry),
            created_at_utc=now,
            updated_at_utc=now,
            heartbeat_at_utc=now,
            idempotency_key=self.idempotency_key,
            request_hash=request_hash(settings, identities) if self.idempotency_key else None,
            webhook=self.webhook,
            traceparent=self.traceparent,
        )

    async def _checked(
        self, name: str, chunks: AsyncIterator[bytes], digest: Any
    ) -> AsyncGenerator[bytes]:
        head: bytes | None = b""
        async for chunk in chunks:
            await self._count(len(chunk))
            if digest is not None:
                digest.update(chunk)
            if head is None:
                yield chunk
                continue
            head += chunk
            if len(head) >= SNIFF_BYTES:
                sniff(head)
                if self.life is not None:
                    self.life.begin()
                yield head
                head = None
        if head == b"":
            raise _empty(name)
        if head is not None:
            sniff(head)
            yield head
        # The blob is committed when the stream ends.
        await self._marked()

    async def _marked(self) -> None:
        if self.life is not None:
            await self.life.marked()

    def _next_telemetry_name(self, name: str | None) -> str:
        self._check_number(len(self._telemetry))
        return display_name(name, len(self._telemetry), kind="telemetry")

    async def _keep_telemetry(self, name: str, data: bytes, identity: str) -> TelemetryFile:
        await self._count(len(data))
        found = await telemetry.read(data)
        blob = telemetry_blob(self.job_id, len(self._telemetry))
        await self._marked()
        info = await self._ports.sources.put(blob, data, content_type=telemetry.MEDIA_TYPE)
        self._telemetry.append(telemetry.described("uploaded", name, info, found))
        self._telemetry_identities.append(telemetry_identity(name, identity))
        return self._telemetry[-1]

    def _next_index(self) -> int:
        self._check_number(len(self._files))
        return len(self._files)

    def _check_number(self, present: int) -> None:
        if present >= self._max_files:
            raise InvalidInput(
                f"A job can have at most {self._max_files} files. Split the recording into several "
                "jobs.",
                code="too_many_files",
                limit=self._max_files,
            )

    async def _count(self, size_bytes: int) -> None:
        self.size_bytes += size_bytes
        check_size(self.size_bytes, self._max_bytes)
        if self.room is not None:
            await self.room.check(self.size_bytes)

    def _keep(self, file: SourceFile, identity: str) -> SourceFile:
        self._files.append(file)
        self._identities.append(f"{file.name}\n{identity or file.size_bytes}")
        return file


def check_size(size_bytes: int, limit_bytes: int) -> None:
    """Refuse more bytes than the operator allows in one job.

    Raises:
        TooLarge: `size_bytes` is over `limit_bytes`.
    """
    if size_bytes > limit_bytes:
        raise video_too_large(limit_bytes)


def request_hash(settings: AnalysisSettings, identities: list[str]) -> str:
    """Return the fingerprint by which two requests with one idempotency key are compared.

    A named calibration is compared by its name, because a stored calibration may be replaced
    between a request and its repetition.
    """
    plain = settings.model_dump(mode="json")
    if settings.calibration is not None and settings.calibration.name is not None:
        plain["calibration"] = settings.calibration.name
    text = json.dumps([plain, identities], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def telemetry_identity(name: str, identity: str) -> str:
    """Return the text that identifies a telemetry file in a fingerprint."""
    return f"telemetry\n{name}\n{identity}"


def webhook_identity(url: str | None) -> list[str]:
    """Return the part of a fingerprint that stands for a webhook; empty without a webhook."""
    return [] if url is None else [f"webhook\n{url}"]


def _check_declared(name: str, size_bytes: int, declared_bytes: int | None) -> None:
    if declared_bytes is not None and size_bytes > declared_bytes:
        raise TooLarge(
            f"The file '{name}' has {size_bytes} bytes, but its link was requested for "
            f"{declared_bytes}. Request a link with the file's size.",
            code="larger_than_declared",
            declared_bytes=declared_bytes,
        )


def _empty(name: str) -> InvalidInput:
    return InvalidInput(
        f"The file '{name}' is empty. Check that the recording was saved, then send it again.",
        code="empty_file",
    )
