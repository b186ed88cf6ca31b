"""Transfers of bytes: uploads as blocks, downloads as ranges, and copies on the server.

Several blocks or ranges are transferred at once, with bounded memory.
"""

from __future__ import annotations

import asyncio
import io
import time
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob import BlobBlock, BlobProperties, ContentSettings
from azure.storage.blob.aio import BlobClient, BlobLeaseClient

from core.adapters.azure.errors import mapped
from core.errors import NotFound, PermanentError, PreconditionFailed, Unavailable

BLOCK_BYTES = 4 * 2**20
_STAGED_AT_ONCE = 4
_MOST_BLOCKS = 50_000
_RANGE_NOT_SATISFIABLE = 416
_COPY_POLL_S = 0.2
_COPY_PATIENCE_S = 900.0


class WriteOptions(TypedDict, total=False):
    """Options with which a blob is written, in one request or in blocks."""

    content_settings: ContentSettings
    metadata: dict[str, str]
    match_condition: MatchConditions


async def regroup(
    chunks: AsyncIterator[bytes], block_bytes: int = BLOCK_BYTES
) -> AsyncGenerator[io.BytesIO]:
    """Yield a stream with chunks of any size as buffers of `block_bytes`.

    The last buffer may be shorter. No buffer is empty, and each is positioned at its start.
    """
    # The buffer itself becomes the body of the request, so that every byte is copied once only.
    buffer = io.BytesIO()
    async for chunk in chunks:
        rest = memoryview(chunk)
        while len(rest) >= (room := block_bytes - buffer.tell()):
            buffer.write(rest[:room])
            buffer.seek(0)
            yield buffer
            buffer, rest = io.BytesIO(), rest[room:]
        buffer.write(rest)
    if buffer.tell():
        buffer.seek(0)
        yield buffer


def size_of(block: io.BytesIO) -> int:
    """Return the number of bytes in a buffer."""
    return block.getbuffer().nbytes


async def stage_blocks(
    blob: BlobClient, blocks: AsyncIterator[io.BytesIO]
) -> tuple[list[BlobBlock], int]:
    """Stage blocks, at most four at once; on return, all of them can be committed.

    If `blocks` raises, so does this function. In every case, no request is in flight when it ends.

    Args:
        blob: The target.
        blocks: Buffers of at most 4 MiB. Memory is limited to those in flight, one that waits, and
            those that `blocks` holds.

    Returns:
        The blocks in order, and their total number of bytes.

    Raises:
        Unavailable: Storage does not respond.
        PermanentError: There are more blocks than a blob can have (code `too_many_blocks`).
    """
    # All writers use ids of the same length, because the service refuses a blob whose block ids
    # differ in length.
    upload = uuid.uuid4().hex
    staged: list[BlobBlock] = []
    running: set[asyncio.Task[None]] = set()
    size = 0
    try:
        async for block in blocks:
            if len(staged) == _MOST_BLOCKS:
                raise PermanentError(
                    f"A blob can have at most {_MOST_BLOCKS * BLOCK_BYTES} bytes. Split the file.",
                    code="too_many_blocks",
                )
            running = await _below(_STAGED_AT_ONCE, running)
            block_id = f"{upload}{len(staged):06d}"
            staged.append(BlobBlock(block_id))
            size += size_of(block)
            running.add(asyncio.create_task(_stage(blob, block_id, block)))
        running = await _below(1, running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return staged, size


async def _below(count: int, running: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """Wait until fewer than `count` tasks run; raise the error of a task that failed."""
    pending = {task for task in running if not task.done()}
    done = running - pending
    while len(pending) >= count:
        finished, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        done |= finished
    failures = [error for task in done if (error := task.exception()) is not None]
    if failures:
        raise failures[0]
    return pending


async def _stage(blob: BlobClient, block_id: str, block: io.BytesIO) -> None:
    with mapped(f"writing the blob '{blob.blob_name}'"):
        await blob.stage_block(block_id, block, length=size_of(block))


async def file_chunks(path: Path) -> AsyncGenerator[bytes]:
    """Yield a file in blocks, read outside the event loop."""
    with await asyncio.to_thread(path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, BLOCK_BYTES):
            yield chunk


@dataclass(frozen=True, slots=True)
class _Piece:
    data: bytes
    etag: str
    total_bytes: int


async def read_pieces(
    blob: BlobClient, *, offset: int, length: int | None, if_match: str | None, ahead: int
) -> AsyncGenerator[bytes]:
    """Yield a range of a blob in pieces of at most 4 MiB, all from the same version of it.

    Args:
        blob: The source.
        offset: First byte. At or after the end, nothing is yielded.
        length: Number of bytes, or None for all that follow.
        if_match: ETag that the blob must have, without quotes.
        ahead: Number of pieces to prefetch while the caller processes one, at least 1. Memory is
            limited to that number and one more.

    Raises:
        NotFound: The blob does not exist, even if `if_match` is given, or was deleted in the
            meantime.
        PreconditionFailed: The blob's ETag is not `if_match`, or it was overwritten in the
            meantime.
        Unavailable: Storage does not respond.
    """
    first = await _first_piece(blob, offset, length, if_match)
    if first is None or not first.data:
        return
    end = first.total_bytes if length is None else min(offset + length, first.total_bytes)
    starts = iter(range(offset + len(first.data), end, BLOCK_BYTES))
    coming: deque[asyncio.Task[_Piece]] = deque()

    def fetch_next() -> None:
        if (start := next(starts, None)) is not None:
            # All pieces must be of the first piece's version. A reader gets a whole blob or an
            # error, never a mixture.
            coming.append(
                asyncio.create_task(_fetch(blob, start, min(BLOCK_BYTES, end - start), first.etag))
            )

    try:
        for _ in range(ahead):
            fetch_next()
        yield first.data
        while coming:
            piece = await coming[0]
            coming.popleft()
            fetch_next()
            yield piece.data
            del piece
    finally:
        for task in coming:
            task.cancel()
        await asyncio.gather(*coming, return_exceptions=True)


async def _first_piece(
    blob: BlobClient, offset: int, length: int | None, if_match: str | None
) -> _Piece | None:
    """Return the first piece.

    Return None if the range is empty but the blob has the requested version.
    """
    if length is None or length > 0:
        try:
            return await _fetch(blob, offset, min(BLOCK_BYTES, length or BLOCK_BYTES), if_match)
        except PermanentError as error:
            cause = error.__cause__
            if not (
                isinstance(cause, HttpResponseError) and cause.status_code == _RANGE_NOT_SATISFIABLE
            ):
                raise
    async with _reading(blob):
        await blob.get_blob_properties(**condition(if_match))
    return None


@asynccontextmanager
async def _reading(blob: BlobClient) -> AsyncIterator[None]:
    """Map errors; check for a missing blob where a condition failed.

    With `If-Match`, the service responds in the same way for a missing blob as for a changed one.
    """
    doing = f"reading the blob '{blob.blob_name}'"
    try:
        with mapped(doing):
            yield
    except PreconditionFailed:
        with mapped(doing):
            await blob.get_blob_properties()
        raise


async def _fetch(blob: BlobClient, offset: int, length: int, etag: str | None) -> _Piece:
    async with _reading(blob):
        download = await blob.download_blob(
            offset, length, max_concurrency=1, decompress=False, **condition(etag)
        )
        data = await download.readall()
    properties = download.properties
    total = (
        int(properties.content_range.rpartition("/")[2])
        if properties.content_range
        else offset + len(data)
    )
    return _Piece(data, properties.etag.strip('"'), total)


class IfMatch(TypedDict, total=False):
    """The SDK's arguments for `If-Match`."""

    etag: str
    match_condition: MatchConditions


def condition(if_match: str | None) -> IfMatch:
    """Return the SDK's arguments for `If-Match`, none for None."""
    if if_match is None:
        return {}
    return {"etag": f'"{if_match}"', "match_condition": MatchConditions.IfNotModified}


async def write_file(path: Path, pieces: AsyncGenerator[bytes]) -> None:
    """Write pieces to a file outside the event loop; it gets its name when it is complete.

    Errors leave no files behind.
    """
    part = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}.part")
    try:
        with await asyncio.to_thread(part.open, "xb") as file:
            async with aclosing(pieces):
                async for piece in pieces:
                    await asyncio.to_thread(file.write, piece)
        await asyncio.to_thread(part.replace, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


async def followed_by(
    head: list[io.BytesIO], rest: AsyncIterator[io.BytesIO]
) -> AsyncIterator[io.BytesIO]:
    """Yield the buffers of a list, then those that follow."""
    # Removed from the list, so that the block's memory is freed once it is staged.
    while head:
        yield head.pop(0)
    async for block in rest:
        yield block


async def delete_any(blob: BlobClient) -> bool:
    """Delete a blob and its snapshots; return whether it existed.

    A lease is broken first, because the holder of a write link may have acquired one.
    """
    try:
        with mapped(f"deleting the blob '{blob.blob_name}'"):
            await blob.delete_blob(delete_snapshots="include")
    except NotFound:
        return False
    except PreconditionFailed:
        # No condition was set, so the failure means that the blob is leased.
        with (
            mapped(f"deleting the leased blob '{blob.blob_name}'"),
            suppress(ResourceNotFoundError),
        ):
            await BlobLeaseClient(blob).break_lease(lease_break_period=0)
            await blob.delete_blob(delete_snapshots="include")
    return True


def missing(name: str) -> NotFound:
    """Return the error for a blob that does not exist."""
    return NotFound(f"There is no blob named '{name[:200]}'.", code="blob_not_found")


class _SourceCondition(TypedDict, total=False):
    source_etag: str
    source_match_condition: MatchConditions


async def copy_blob(
    source: BlobClient, target: BlobClient, *, doing: str, if_match: str | None = None
) -> BlobProperties:
    """Copy on the server, and return the properties of the copy.

    Args:
        source: The blob to copy.
        target: The new blob.
        doing: The operation, as named in errors.
        if_match: ETag that the source must have, if any.

    Raises:
        NotFound: The source does not exist.
        PreconditionFailed: The source's ETag is not `if_match`.
        Unavailable: Storage does not respond, or the copy did not end (code `copy_unfinished`).
    """
    # The SDK passes a condition of None on to its HTTP client, which does not know it.
    wanted: _SourceCondition = {}
    if if_match is not None:
        wanted["source_etag"] = f'"{if_match}"'
        wanted["source_match_condition"] = MatchConditions.IfNotModified
    with mapped(doing):
        answer = await target.start_copy_from_url(source.url, **wanted)
    give_up_at = time.monotonic() + _COPY_PATIENCE_S
    while True:
        with mapped(doing):
            properties = await target.get_blob_properties()
        is_ours = properties.copy.id == answer["copy_id"]
        status = properties.copy.status if is_ours else "overwritten"
        if status == "success":
            return properties
        if status != "pending" or time.monotonic() > give_up_at:
            raise Unavailable(
                f"Storage did not finish {doing} ({status}). Try again in a few seconds.",
                code="copy_unfinished",
            )
        await asyncio.sleep(_COPY_POLL_S)
