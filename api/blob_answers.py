"""Responses with a blob: conditional requests and single ranges of RFC 9110, streamed."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from email.utils import format_datetime, parsedate_to_datetime

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from api.problems import HttpError
from core.ports import BlobInfo, BlobStore

_RANGE = re.compile(r"bytes=\s*([0-9]*)-([0-9]*)\s*", re.IGNORECASE)


def byte_range(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """Return the offset and length of the single range that a `Range` header requests.

    Args:
        header: The header, if any.
        size_bytes: Size of the blob.

    Returns:
        None if the whole blob is to be sent: the header is missing, names another unit or several
        ranges, or cannot be parsed, as RFC 9110 allows.

    Raises:
        HttpError: 416: the range is outside the blob.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        # A suffix range is computed here, because not every storage server handles one correctly.
        length = min(_number(match[2]), size_bytes)
        offset = size_bytes - length
    else:
        offset = _number(match[1])
        end = min(_number(match[2]), size_bytes - 1) if match[2] else size_bytes - 1
        if match[2] and _number(match[2]) < offset:
            return None
        length = end - offset + 1
    if length <= 0 or offset >= size_bytes:
        raise range_not_satisfiable(size_bytes)
    return offset, length


def range_not_satisfiable(size_bytes: int) -> HttpError:
    """Return the error for a range outside the file."""
    return HttpError(
        416,
        f"The file has {size_bytes} bytes. Request a range within it.",
        code="range_not_satisfiable",
        headers={"Content-Range": f"bytes */{size_bytes}", "Accept-Ranges": "bytes"},
    )


def _number(digits: str) -> int:
    """Return a number of bytes.

    A number with more digits than any size is replaced by a large one, because Python parses at
    most 4300 digits.
    """
    return int(digits) if len(digits) <= 18 else 10**18


async def blob_answer(
    request: Request, blobs: BlobStore, name: str, *, media_type: str, filename: str
) -> Response:
    """Return a response with a blob, or with the requested part of it.

    Raises:
        NotFound, PreconditionFailed, Unavailable: Raised before the first byte is sent.
        HttpError: 416.
    """
    info = await blobs.info(name)
    etag = f'"{info.etag}"'
    headers = {
        "ETag": etag,
        "Last-Modified": format_datetime(info.modified_at_utc.replace(microsecond=0), usegmt=True),
        "Accept-Ranges": "bytes",
        # The files of a revision never change, but the URL shows the newest revision. Caches must
        # therefore revalidate each time, and get 304 if nothing changed.
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'inline; filename="{filename}"',
    }
    if _matches(request.headers.get("if-none-match"), info.etag):
        return Response(status_code=304, headers=headers)
    wanted = (
        byte_range(request.headers.get("range"), info.size_bytes)
        if _range_applies(request, info)
        else None
    )
    offset, length = wanted or (0, info.size_bytes)
    headers["Content-Length"] = str(length)
    if wanted:
        headers["Content-Range"] = f"bytes {offset}-{offset + length - 1}/{info.size_bytes}"
    status = 206 if wanted else 200
    if request.method == "HEAD" or length == 0:
        return Response(status_code=status, headers=headers, media_type=media_type)
    pieces = _pieces(blobs, info, offset, length)
    # The first piece decides between a response and an error. It is read while the status can still
    # be chosen.
    first = await anext(pieces)
    return StreamingResponse(_with_first(first, pieces), status, headers, media_type)


async def _pieces(
    blobs: BlobStore, info: BlobInfo, offset: int, length: int
) -> AsyncGenerator[bytes]:
    async for piece in blobs.stream(info.name, offset=offset, length=length, if_match=info.etag):
        yield piece


async def _with_first(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    try:
        yield first
        async for piece in rest:
            yield piece
    finally:
        await rest.aclose()


def _matches(header: str | None, etag: str) -> bool:
    if header is None:
        return False
    given = [value.strip().removeprefix("W/").strip('"') for value in header.split(",")]
    return "*" in given or etag in given


def _range_applies(request: Request, info: BlobInfo) -> bool:
    condition = request.headers.get("if-range")
    if request.method != "GET" or condition is None:
        return request.method in ("GET", "HEAD")
    if condition.startswith('"'):
        return condition == f'"{info.etag}"'
    try:
        return parsedate_to_datetime(condition) == info.modified_at_utc.replace(microsecond=0)
    except (ValueError, OverflowError):
        return False
