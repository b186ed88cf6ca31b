"""The port of blobs: named byte strings."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from core.ports.base import Page, Port


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A blob as it is now.

    `etag` changes with every write and is compared as an opaque string, without quotes.
    """

    name: str
    size_bytes: int
    etag: str
    content_type: str
    modified_at_utc: datetime


class BlobStore(Port):
    """Named byte strings in one container. Writes are atomic: a reader sees a whole blob or none.

    Attributes:
        name: The name of the container. It may be set before `open`, not afterwards.
    """

    name: str

    @abstractmethod
    async def connect(self) -> None:
        """Prepare to read without creating anything.

        If the container is missing, reading raises `Unavailable` (`storage_not_ready`). Idempotent;
        `open` does the same and creates the container.
        """

    @abstractmethod
    async def put(
        self,
        name: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        only_new: bool = False,
    ) -> BlobInfo:
        """Write a blob from memory. Idempotent.

        Raises:
            PreconditionFailed: `only_new` is set and the blob exists.
        """

    @abstractmethod
    async def put_stream(
        self,
        name: str,
        chunks: AsyncIterator[bytes],
        *,
        content_type: str = "application/octet-stream",
        only_new: bool = False,
    ) -> BlobInfo:
        """Write a blob from a stream with chunks of any size.

        The blob is written as staged blocks, several at a time, and appears when the last one is
        committed.

        Memory stays within a few blocks of 4 MiB. If `chunks` raises, nothing is committed and the
        exception passes through.

        Raises:
            PreconditionFailed: `only_new` is set and the blob exists.
        """

    @abstractmethod
    async def put_file(
        self,
        name: str,
        path: Path,
        *,
        content_type: str = "application/octet-stream",
        only_new: bool = False,
    ) -> BlobInfo:
        """Write a blob from a local file. Idempotent. Raises as `put` does."""

    @abstractmethod
    async def info(self, name: str) -> BlobInfo:
        """Describe a blob.

        Raises:
            NotFound: The blob does not exist (code `blob_not_found`).
        """

    @abstractmethod
    async def get(self, name: str, *, if_match: str | None = None) -> bytes:
        """Read a whole blob.

        Raises:
            NotFound: The blob does not exist.
            PreconditionFailed: The blob's ETag is not `if_match`.
        """

    @abstractmethod
    def stream(
        self, name: str, *, offset: int = 0, length: int | None = None, if_match: str | None = None
    ) -> AsyncGenerator[bytes]:
        """Read `length` bytes from `offset` on, in pieces of at most 4 MiB.

        The iterator raises as `get` does, at its first step.
        """

    @abstractmethod
    async def get_file(self, name: str, path: Path, *, if_match: str | None = None) -> None:
        """Read a blob into a local file, which appears when it is complete.

        Raises as `get` does, and `StorageFull`.
        """

    @abstractmethod
    async def copy(self, source: str, target: str, *, if_match: str | None = None) -> BlobInfo:
        """Copy within the container, on the server; return when the copy is complete.

        Idempotent. Raises as `get` does.
        """

    @abstractmethod
    def list_blobs(self, prefix: str) -> AsyncGenerator[BlobInfo]:
        """Yield the committed blobs whose names begin with `prefix`, in order of name."""

    @abstractmethod
    async def page(self, prefix: str, *, limit: int, cursor: str | None = None) -> Page[BlobInfo]:
        """Return about `limit` blobs whose names begin with `prefix`, in order of name.

        Blobs with staged blocks only are included. A page may be empty without being the last one.
        A cursor is valid for the same prefix only.
        """

    @abstractmethod
    async def folders(self, prefix: str, *, limit: int, cursor: str | None = None) -> Page[str]:
        """Return the folders below `prefix`, in order of name.

        A folder is the beginning of a blob's name: `prefix`, then everything up to and including
        the next slash. Blobs with staged blocks only count. A folder with many blobs may be on two
        pages. Cursors as for `page`.
        """

    @abstractmethod
    async def now(self) -> datetime:
        """Return the time by the clock that sets `modified_at_utc`, so that ages have no skew."""

    @abstractmethod
    async def purge(self, name: str) -> None:
        """Delete a blob, or the staged blocks of one that was never committed. Idempotent.

        A missing blob is success. A blob that is committed during the call may remain.
        """

    @abstractmethod
    async def delete(self, name: str) -> None:
        """Delete a blob; a missing blob is success. Idempotent."""

    @abstractmethod
    async def delete_prefix(self, prefix: str) -> int:
        """Delete all blobs whose names begin with `prefix`; return their number. Idempotent.

        `prefix` must not be empty.
        """

    @abstractmethod
    async def upload_url(self, name: str, *, valid_for: timedelta) -> str:
        """Return a URL whose holder may create and write only this blob for `valid_for`."""
