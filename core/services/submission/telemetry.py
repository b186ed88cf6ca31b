"""Telemetry of a drone, submitted beside the videos of a recording.

Each file is read once to validate it, summarised in the job's record, and assigned to its video.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Literal

from core.domain.job import SourceFile, TelemetryFile, TelemetryRemark
from core.errors import (
    InvalidInput,
    InvalidTelemetry,
    PermanentError,
    StorageFull,
    TooLarge,
    is_disk_full,
)
from core.ports import BlobInfo

if TYPE_CHECKING:
    from core.telemetry import Telemetry

MAX_TELEMETRY_BYTES = 32 * 2**20
_SPOOLED_BYTES = 256 * 1024
MEDIA_TYPE = "application/x-subrip"


async def collected(name: str, chunks: AsyncIterator[bytes]) -> bytes:
    """Return a telemetry file that arrives in pieces.

    The bytes that have arrived are stored in an anonymous temporary file, because many clients may
    send slowly at the same time.

    Raises:
        TooLarge: The file is over `MAX_TELEMETRY_BYTES` (code `telemetry_too_large`).
        StorageFull: The disk for temporary files is full.
    """
    size_bytes = 0
    with tempfile.SpooledTemporaryFile(max_size=_SPOOLED_BYTES) as file:
        async for chunk in chunks:
            size_bytes += len(chunk)
            check_telemetry_size(name, size_bytes)
            try:
                await asyncio.to_thread(file.write, chunk)
            except OSError as error:
                if not is_disk_full(error):
                    raise
                raise StorageFull(
                    "The disk of the API for temporary files is full. Make room.", disk_of="api"
                ) from error
        file.seek(0)
        return file.read()


def check_telemetry_size(name: str, size_bytes: int) -> None:
    """Refuse a telemetry file that is too large.

    Raises:
        TooLarge: The file is over `MAX_TELEMETRY_BYTES` (code `telemetry_too_large`).
    """
    if size_bytes > MAX_TELEMETRY_BYTES:
        raise TooLarge(
            f"The telemetry '{name}' exceeds {MAX_TELEMETRY_BYTES} bytes. Send the .SRT that the "
            "drone wrote.",
            code="telemetry_too_large",
            limit_bytes=MAX_TELEMETRY_BYTES,
        )


async def read(data: bytes) -> Telemetry:
    """Read telemetry outside the event loop.

    The thread ends soon after the caller stops waiting.

    Raises:
        InvalidTelemetry: The telemetry cannot be used; the code states the reason.
    """
    from core.telemetry import (
        parse_srt,
    )  # Imports NumPy, which is needed only where there is telemetry.

    unwanted = threading.Event()

    def check() -> None:
        if unwanted.is_set():
            raise InvalidTelemetry(
                "The caller no longer waits for this telemetry.", code="telemetry_unwanted"
            )

    try:
        return await asyncio.to_thread(parse_srt, data, check)
    finally:
        unwanted.set()


def described(
    source: Literal["uploaded", "embedded"], name: str, info: BlobInfo, telemetry: Telemetry
) -> TelemetryFile:
    """Return the job's record of telemetry that was read and stored."""
    return TelemetryFile(
        source=source,
        name=name,
        blob=info.name,
        size_bytes=info.size_bytes,
        etag=info.etag,
        dialect=telemetry.dialect,
        samples=len(telemetry),
        has_position=telemetry.has_position,
        has_attitude=telemetry.has_attitude,
        warnings=tuple(
            TelemetryRemark(code=remark.code, message=remark.message)
            for remark in telemetry.warnings
        ),
    )


def unusable(name: str, error: PermanentError) -> TelemetryFile:
    """Return the job's record of an unusable telemetry track within a video: the reason."""
    message = f"The telemetry within '{name}' was left out: {error.message}"
    return TelemetryFile(
        source="embedded", name=name, warnings=(TelemetryRemark(code=error.code, message=message),)
    )


def paired(
    files: Sequence[SourceFile], telemetry: Sequence[TelemetryFile]
) -> tuple[SourceFile, ...]:
    """Assign each telemetry file to its video.

    A telemetry file belongs to the video of the same name without the suffix. The other telemetry
    files are assigned in order, if there is exactly one per remaining video.

    Args:
        files: The recording's videos, in order.
        telemetry: The telemetry files, in the order of their arrival.

    Raises:
        InvalidInput: The video of a telemetry file is ambiguous (code `telemetry_unmatched`).
    """
    given: dict[int, TelemetryFile] = {}
    rest: list[TelemetryFile] = []
    for item in telemetry:
        same = [
            i
            for i, file in enumerate(files)
            if _stem(item.name) in (_stem(file.name), file.name.casefold())
        ]
        if len(same) == 1 and same[0] not in given:
            given[same[0]] = item
        else:
            rest.append(item)
    free = [i for i in range(len(files)) if i not in given]
    if rest and len(rest) != len(free):
        raise InvalidInput(
            f"The telemetry '{rest[0].name}' matches no video. Name it like its video "
            "(DJI_0042.SRT for DJI_0042.MP4), or send exactly one per video, in the same order.",
            code="telemetry_unmatched",
            unmatched=[item.name for item in rest],
        )
    given.update(zip(free, rest, strict=False))
    return tuple(
        file.model_copy(update={"telemetry": given[i]}) if i in given else file
        for i, file in enumerate(files)
    )


def _stem(name: str) -> str:
    stem, dot, _ = name.casefold().rpartition(".")
    return stem if dot else name.casefold()
