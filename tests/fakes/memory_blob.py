"""Blobs in a dictionary, with ETags, whole-or-nothing writes and refusals as the real store has
them.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from core.domain.clock import Clock, utc_now
from core.errors import InvalidInput, NotFound, PreconditionFailed, Unavailable
from core.ports import BlobInfo, BlobStore, Page

_PIECE_BYTES = 4 * 2**20
_etags = itertools.count(1)


@dataclass(frozen=True, slots=True)
class _Blob:
    data: bytes
    info: BlobInfo


class MemoryBlobStore(BlobStore):
    """A blob store in memory.

    Attributes:
        away: Set it to make every call raise `Unavailable`, as when the service does not answer.
        piece_bytes: Largest piece that `stream` yields; lower it to see several pieces of a small
            blob.
    """

    def __init__(self, clock: Clock = utc_now, *, container: str = "memory") -> None:
        self.away = False
        self.piece_bytes = _PIECE_BYTES
        self._clock = clock
        self.name = container
        self._blobs: dict[str, _Blob] = {}
        self._staged: dict[str, BlobInfo] = {}

    async def connect(self) -> None:
        """Nothing to do."""

    async def open(self) -> None:
        """Do nothing: there is nothing to create."""
        await self._answer()

    async def close(self) -> None:
        """Do nothing: there are no connections."""

    async def ping(self) -> None:
        """Return unless `away`."""
        await self._answer()

    async def put(
        self,
        name: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        only_new: bool = False,
    ) -> BlobInfo:
        """Write a blob."""
        _check_name(name)
        await self._answer()
        return self._commit(name, bytes(data), content_type=content_type, only_new=only_new)

    async def put_stream(
        self,
        name: str,
        chunks: AsyncIterator[bytes],
        *,
        content_type: str = "application/octet-stream",
        only_new: bool = False,
    ) -> BlobInfo:
        """Collect a stream, then write it at once."""
        _check_name(name)
        await self._answer()
        data = bytearray()
        async for chunk in chunks:
            data += chunk
            await self._answer()
        return self._commit(name, bytes(data), content_type=content_type, only_new=only_new)

    async def put_file(
        self,
        name: str,
        path: Path,
        *,
        content_type: str = "application/octet-stream",
        only_new: bool = False,
    ) -> BlobInfo:
        """Write a blob from a file."""
        return await self.put(
            name,
            await asyncio.to_thread(path.read_bytes),
            content_type=content_type,
            only_new=only_new,
        )

    async def info(self, name: str) -> BlobInfo:
        """Describe a blob."""
        await self._answer()
        return self._find(name, None).info

    async def get(self, name: str, *, if_match: str | None = None) -> bytes:
        """Read a blob."""
        await self._answer()
        return self._find(name, if_match).data

    async def stream(
        self, name: str, *, offset: int = 0, length: int | None = None, if_match: str | None = None
    ) -> AsyncGenerator[bytes]:
        """Read a range in pieces, all of the blob as it was at the first."""
        await self._answer()
        blob = self._find(name, if_match)
        end = len(blob.data) if length is None else min(offset + length, len(blob.data))
        for start in range(offset, end, self.piece_bytes):
            await self._answer()
            if self._find(name, None).info.etag != blob.info.etag:
                raise _changed(name)
            yield blob.data[start : min(start + self.piece_bytes, end)]

    async def get_file(self, name: str, path: Path, *, if_match: str | None = None) -> None:
        """Read a blob into a file."""
        await asyncio.to_thread(path.write_bytes, await self.get(name, if_match=if_match))

    async def copy(self, source: str, target: str, *, if_match: str | None = None) -> BlobInfo:
        """Copy a blob with its media type."""
        _check_name(target)
        await self._answer()
        blob = self._find(source, if_match)
        return self._commit(target, blob.data, content_type=blob.info.content_type, only_new=False)

    async def list_blobs(self, prefix: str) -> AsyncGenerator[BlobInfo]:
        """Yield blobs in order of name."""
        await self._answer()
        for name in sorted(name for name in self._blobs if name.startswith(prefix)):
            if name in self._blobs:
                yield self._blobs[name].info

    async def page(self, prefix: str, *, limit: int, cursor: str | None = None) -> Page[BlobInfo]:
        """Return a page of blobs; staged blocks are those of `stage_only`."""
        await self._answer()
        infos = {name: blob.info for name, blob in self._blobs.items()} | {
            k: v for k, v in self._staged.items() if k not in self._blobs
        }
        names = sorted(
            name for name in infos if name.startswith(prefix) and (cursor is None or name > cursor)
        )
        return Page(
            [infos[name] for name in names[:limit]],
            names[limit - 1] if len(names) > limit else None,
        )

    async def folders(self, prefix: str, *, limit: int, cursor: str | None = None) -> Page[str]:
        """Return a page of folders."""
        await self._answer()
        below = [
            name.removeprefix(prefix).partition("/")
            for name in {*self._blobs, *self._staged}
            if name.startswith(prefix)
        ]
        found = sorted({prefix + first + slash for first, slash, _ in below if slash})
        found = [name for name in found if cursor is None or name > cursor]
        return Page(found[:limit], found[limit - 1] if len(found) > limit else None)

    async def now(self) -> datetime:
        """Return the time by the store's clock."""
        await self._answer()
        return self._clock()

    def stage_only(self, name: str) -> None:
        """Stage blocks of a blob and do not commit them, as a writer that is killed."""
        self._staged[name] = BlobInfo(name, 0, "", "application/octet-stream", self._clock())

    async def purge(self, name: str) -> None:
        """Delete a blob and what `stage_only` did."""
        await self.delete(name)
        self._staged.pop(name, None)

    async def delete(self, name: str) -> None:
        """Delete a blob, if there is one."""
        await self._answer()
        self._blobs.pop(name, None)

    async def delete_prefix(self, prefix: str) -> int:
        """Delete the blobs under a prefix."""
        if not prefix:
            raise InvalidInput(
                "An empty prefix would delete every blob. Name the prefix to delete.",
                code="empty_prefix",
            )
        await self._answer()
        names = [name for name in self._blobs if name.startswith(prefix)]
        for name in names:
            del self._blobs[name]
        return len(names)

    async def upload_url(self, name: str, *, valid_for: timedelta) -> str:
        """Return an address that says what it is for; nothing listens there."""
        _check_name(name)
        await self._answer()
        expires = (self._clock() + valid_for).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"memory://{self.name}/{quote(name)}?sp=cw&se={quote(expires)}"

    async def _answer(self) -> None:
        # Gives other tasks their turn, as a request does, so that races show.
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("Storage did not respond. Try again in a few seconds.")

    def _commit(self, name: str, data: bytes, *, content_type: str, only_new: bool) -> BlobInfo:
        if only_new and name in self._blobs:
            raise PreconditionFailed(
                f"A blob named '{name}' exists already. Nothing was written.", code="blob_exists"
            )
        info = BlobInfo(
            name=name,
            size_bytes=len(data),
            etag=f"0x{next(_etags):015X}",
            content_type=content_type,
            modified_at_utc=self._clock(),
        )
        self._blobs[name] = _Blob(data, info)
        self._staged.pop(name, None)
        return info

    def _find(self, name: str, if_match: str | None) -> _Blob:
        blob = self._blobs.get(name)
        if blob is None:
            raise NotFound(f"There is no blob named '{name}'.", code="blob_not_found")
        if if_match is not None and blob.info.etag != if_match:
            raise _changed(name)
        return blob


def _check_name(name: str) -> None:
    if (
        not 0 < len(name) <= 1024
        or "\\" in name
        or any(part in ("", ".", "..") for part in name.split("/"))
    ):
        raise InvalidInput(f"'{name[:100]}' is not a valid blob name.", code="bad_blob_name")


def _changed(name: str) -> PreconditionFailed:
    return PreconditionFailed(
        f"The blob '{name}' has changed in the meantime. Read its current state and try again."
    )
