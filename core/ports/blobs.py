"""Named byte strings."""

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
        name: The container's. It may be set before `open`, not afterwards.
    """

    name: str

    @abstractmethod
    async def connect(self) -> None:
        """Make ready to read without creating anything; where the container is missing, reading
        raises `Unavailable` (`storage_not_ready`).

        Idempotent; `open` does the same and creates the container.
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
            PreconditionFailed: `only_new` and the blob exists.
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
        """Write a blob from a stream of any chunk sizes, as staged blocks, several at once; it
        appears when the last one is committed.

        Memory stays within a few blocks of 4 MiB. If `chunks` raises, nothing is committed and the
        exception passes through.

        Raises:
            PreconditionFailed: `only_new` and the blob exists.
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
            NotFound: There is none (code `blob_not_found`).
        """

    @abstractmethod
    async def get(self, name: str, *, if_match: str | None = None) -> bytes:
        """Read a whole blob.

        Raises:
            NotFound: There is none.
            PreconditionFailed: Its ETag is not `if_match`.
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
        """Read a blob into a local file, which appears when it is whole.

        Raises as `get` does, and `StorageFull`.
        """

    @abstractmethod
    async def copy(self, source: str, target: str, *, if_match: str | None = None) -> BlobInfo:
        """Copy within the container, on the server's side; returns when the copy is whole.

        Idempotent. Raises as `get` does.
        """

    @abstractmethod
    def list_blobs(self, prefix: str) -> AsyncGenerator[BlobInfo]:
        """Yield the blobs whose names begin with `prefix`, in order of name, uncommitted ones left
        out.
        """

    @abstractmethod
    async def page(self, prefix: str, *, limit: int, cursor: str | None = None) -> Page[BlobInfo]:
        """Return up to about `limit` blobs whose names begin with `prefix`, in order of name, those
        with staged blocks only included.

        A page may be empty without being the last one. A cursor serves the same prefix only.
        """

    @abstractmethod
    async def folders(self, prefix: str, *, limit: int, cursor: str | None = None) -> Page[str]:
        """Return, in order, what blobs' names begin with: `prefix`, then up to the next slash and
        including it.

        Blobs with staged blocks only count. A folder with many blobs may be on two pages. Cursors
        as for `page`.
        """

    @abstractmethod
    async def now(self) -> datetime:
        """Return the time by the clock that `modified_at_utc` is read from: ages that are reckoned
        with it know no skew.
        """

    @abstractmethod
    async def purge(self, name: str) -> None:
        """Delete a blob, or the staged blocks of one that was never committed; nothing being there
        is success. Idempotent.

        A blob that is committed between the two may stay.
        """

    @abstractmethod
    async def delete(self, name: str) -> None:
        """Delete a blob; none being there is success. Idempotent."""

    @abstractmethod
    async def delete_prefix(self, prefix: str) -> int:
        """Delete all blobs whose names begin with `prefix`, which must not be empty; return how
        many. Idempotent.
        """

    @abstractmethod
    async def upload_url(self, name: str, *, valid_for: timedelta) -> str:
        """Return a URL with which anybody may create and write this one blob, and nothing else, for
        that long.
        """
