"""Blobs in Azure Blob Storage, or in Azurite, which speaks the same protocol."""

from __future__ import annotations

import asyncio
import io
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.identity.aio import DefaultAzureCredential
from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import BlobClient, BlobPrefix, BlobServiceClient, ContainerClient

from core.adapters.azure import connection as azure_connection
from core.adapters.azure.blob_listing import blob_info, is_usable, one_page
from core.adapters.azure.connection import (
    bad_connection_string,
    client_options,
    managed_identity,
    service_url,
)
from core.adapters.azure.errors import CONCURRENT_WRITE, creating, disk_full_mapped, mapped
from core.adapters.azure.transfer import (
    WriteOptions,
    condition,
    copy_blob,
    delete_any,
    file_chunks,
    followed_by,
    missing,
    read_pieces,
    regroup,
    size_of,
    stage_blocks,
    write_file,
)
from core.adapters.azure.upload_links import UploadLinks
from core.errors import InvalidInput, NotFound, PreconditionFailed, Unavailable
from core.ports import BlobInfo, BlobStore, Page

_READ_TIMEOUT_S = 20
# Small blobs are written in one request. For larger bodies the transport needs a buffer, which the
# SDK's single put does not pass on.
_SINGLE_PUT_BYTES = 2**20
_DELETES_AT_ONCE = 8
_WRITE_TRIES = 4
_WRITE_ID = "muster_write"
_UNCOMMITTED = ["uncommittedblobs"]


class AzureBlobStore(BlobStore):
    """One container.

    Args:
        container: The name of the container, also the attribute `name`; `open` creates it.
        connection_string: A connection string with an account key. Ignored if `account_url` is
            given.
        account_url: `https://<account>.blob.core.windows.net`: use the process's managed identity.
    """

    def __init__(
        self, *, container: str, connection_string: str, account_url: str | None = None
    ) -> None:
        self.name = container
        self._connection_string = connection_string
        self._account_url = account_url
        self._service: BlobServiceClient | None = None
        self._credential: DefaultAzureCredential | None = None
        self._links = UploadLinks(by_identity=account_url is not None)

    async def open(self) -> None:
        """Connect, and create the container.

        Raises:
            InvalidInput: The connection string or account URL is not valid.
            Unavailable: Storage does not respond.
        """
        await self.connect()
        with creating(f"the container '{self.name}'", "ContainerAlreadyExists"):
            await self._client.create_container()

    async def connect(self) -> None:
        """Connect without sending anything. Raises `InvalidInput` as `open` does."""
        if self._service is None:
            self._service = self._connect()

    async def close(self) -> None:
        """Close the connections."""
        service, self._service = self._service, None
        credential, self._credential = self._credential, None
        if service is not None:
            await service.close()
        if credential is not None:
            await credential.close()

    async def ping(self) -> None:
        """Read the container's properties."""
        with mapped(f"checking the container '{self.name}'"):
            await self._client.get_container_properties(read_timeout=azure_connection.PING_S)

    async def put(
        self,
        name: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        only_new: bool = False,
    ) -> BlobInfo:
        """Write a blob from memory, in one request if it is small."""
        return await _undisturbed(
            lambda: self.put_stream(name, _only(data), content_type=content_type, only_new=only_new)
        )

    async def put_stream(
        self,
        name: str,
        chunks: AsyncIterator[bytes],
        *,
        content_type: str = "application/octet-stream",
        only_new: bool = False,
    ) -> BlobInfo:
        """Write a blob from a stream: blocks of 4 MiB, four staged at once, one commit at the end.

        Raises:
            InvalidInput: The name is not a valid blob name (code `bad_blob_name`).
            PreconditionFailed: `only_new` is set and the blob exists.
            Unavailable: Storage does not respond, or another writer wrote the same blob in the
                meantime (code `concurrent_write`).
        """
        blob = self._target(name)
        # The id is stored in the blob's metadata. It distinguishes our own write, which the SDK
        # repeats after a lost response, from another writer's.
        write_id = uuid.uuid4().hex
        options: WriteOptions = {"content_settings": ContentSettings(content_type=content_type)}
        if only_new:
            options |= {
                "metadata": {_WRITE_ID: write_id},
                "match_condition": MatchConditions.IfMissing,
            }
        async with aclosing(regroup(chunks)) as blocks:
            head = [await anext(blocks, None) or io.BytesIO()]
            if size_of(head[0]) <= _SINGLE_PUT_BYTES:
                # Only the last block of a stream is not full.
                data = head[0].getvalue()
                size, written = (
                    len(data),
                    blob.upload_blob(data, length=len(data), overwrite=not only_new, **options),
                )
            else:
                staged, size = await stage_blocks(blob, followed_by(head, blocks))
                written = blob.commit_block_list(staged, **options)
        try:
            with mapped(f"writing the blob '{name}'"):
                answer = await written
        except (PreconditionFailed, Unavailable) as error:
            if not only_new or (isinstance(error, Unavailable) and error.code != CONCURRENT_WRITE):
                raise
            return await self._ours(name, write_id, error)
        return BlobInfo(
            name,
            size,
            answer["etag"].strip('"'),
            content_type,
            answer["last_modified"].astimezone(UTC),
        )

    async def put_file(
        self,
        name: str,
        path: Path,
        *,
        content_type: str = "application/octet-stream",
        only_new: bool = False,
    ) -> BlobInfo:
        """Write a blob from a local file."""

        async def write() -> BlobInfo:
            async with aclosing(file_chunks(path)) as chunks:
                return await self.put_stream(
                    name, chunks, content_type=content_type, only_new=only_new
                )

        return await _undisturbed(write)

    async def copy(self, source: str, target: str, *, if_match: str | None = None) -> BlobInfo:
        """Copy within the container, on the server.

        Raises as the port does, and `Unavailable` if the copy did not end.
        """
        blob, origin = self._target(target), self._existing(source)
        doing = f"copying the blob '{source}'"
        return blob_info(await copy_blob(origin, blob, doing=doing, if_match=if_match))

    async def delete(self, name: str) -> None:
        """Delete a blob and its snapshots, if it exists."""
        await self._delete(name)

    async def purge(self, name: str) -> None:
        """Delete a blob or its staged blocks."""
        if await self._delete(name):
            return
        # Staged blocks cannot be deleted, only replaced by an empty blob, unless another writer
        # commits them first. The empty blob is then deleted.
        blob = self._existing(name)
        with (
            mapped(f"discarding the blocks of '{name}'"),
            suppress(ResourceExistsError, ResourceNotFoundError, ResourceModifiedError),
        ):
            empty = await blob.upload_blob(b"", overwrite=False)
            await blob.delete_blob(**condition(empty["etag"].strip('"')))

    async def delete_prefix(self, prefix: str) -> int:
        """Delete all blobs under a prefix, eight at once.

        Raises:
            InvalidInput: The prefix is empty (code `empty_prefix`).
            Unavailable: Storage does not respond; some blobs may be deleted.
        """
        if not prefix:
            raise InvalidInput(
                "An empty prefix would delete every blob. Name the prefix to delete.",
                code="empty_prefix",
            )
        names = [info.name async for info in self.list_blobs(prefix)]
        gone = 0
        for start in range(0, len(names), _DELETES_AT_ONCE):
            deletions = (self._delete(name) for name in names[start : start + _DELETES_AT_ONCE])
            results = await asyncio.gather(*deletions, return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
                gone += result
        return gone

    async def info(self, name: str) -> BlobInfo:
        """Describe a blob."""
        with mapped(f"reading the properties of the blob '{name}'"):
            return blob_info(await self._existing(name).get_blob_properties())

    async def get(self, name: str, *, if_match: str | None = None) -> bytes:
        """Read a whole blob."""
        return b"".join(
            [
                piece
                async for piece in read_pieces(
                    self._existing(name), offset=0, length=None, if_match=if_match, ahead=3
                )
            ]
        )

    async def stream(
        self, name: str, *, offset: int = 0, length: int | None = None, if_match: str | None = None
    ) -> AsyncGenerator[bytes]:
        """Read a range in pieces of at most 4 MiB, and prefetch the next piece.

        Raises `PreconditionFailed` if the blob is overwritten.
        """
        async with aclosing(
            read_pieces(
                self._existing(name), offset=offset, length=length, if_match=if_match, ahead=1
            )
        ) as pieces:
            async for piece in pieces:
                yield piece

    async def get_file(self, name: str, path: Path, *, if_match: str | None = None) -> None:
        """Read a blob into a local file, which appears when it is complete."""
        pieces = read_pieces(
            self._existing(name), offset=0, length=None, if_match=if_match, ahead=3
        )
        with disk_full_mapped(f"downloading the blob '{name}'"):
            await write_file(path, pieces)

    async def list_blobs(self, prefix: str) -> AsyncGenerator[BlobInfo]:
        """Yield committed blobs in order of name, page by page."""
        pages = self._client.list_blobs(name_starts_with=prefix)
        while True:
            with mapped(f"listing the blobs under '{prefix}'"):
                properties = await anext(pages, None)
            if properties is None:
                return
            yield blob_info(properties)

    async def page(self, prefix: str, *, limit: int, cursor: str | None = None) -> Page[BlobInfo]:
        """Return a page of blobs, including those with staged blocks only."""
        listed = self._client.list_blobs(
            name_starts_with=prefix, results_per_page=limit, include=_UNCOMMITTED
        )
        items, after = await one_page(listed, cursor, f"listing the blobs under '{prefix}'")
        return Page([blob_info(item) for item in items], after)

    async def folders(self, prefix: str, *, limit: int, cursor: str | None = None) -> Page[str]:
        """Return a page of folders: names up to the next slash."""
        walked = self._client.walk_blobs(
            name_starts_with=prefix, results_per_page=limit, include=_UNCOMMITTED, delimiter="/"
        )
        items, after = await one_page(walked, cursor, f"listing the folders under '{prefix}'")
        return Page([item.name for item in items if isinstance(item, BlobPrefix)], after)

    async def now(self) -> datetime:
        """Return the date in the service's response."""
        told: list[str] = []
        with mapped(f"checking the container '{self.name}'"):
            await self._client.get_container_properties(
                raw_response_hook=lambda answer: told.append(answer.http_response.headers["Date"])
            )
        return parsedate_to_datetime(told[-1]).astimezone(UTC)

    async def upload_url(self, name: str, *, valid_for: timedelta) -> str:
        """Return a SAS link that may create and write one blob.

        The blob can be overwritten through the link until it expires, so callers must compare
        ETags.

        Raises:
            PermanentError: The connection string has no account key to sign with (code
                `upload_links_unavailable`).
            Unavailable: Storage provided no key to sign with.
        """
        blob = self._target(name)
        return await self._links.sign(self._service_client, blob, valid_for=valid_for)

    @property
    def _client(self) -> ContainerClient:
        return self._service_client.get_container_client(self.name)

    @property
    def _service_client(self) -> BlobServiceClient:
        if self._service is None:
            raise RuntimeError("open() was not awaited, or close() was")
        return self._service

    def _connect(self) -> BlobServiceClient:
        options = client_options(read_timeout_s=_READ_TIMEOUT_S)
        if self._account_url is not None:
            url = service_url(self._account_url, "blob")
            self._credential = managed_identity()
            return BlobServiceClient(url, credential=self._credential, **options)
        try:
            return BlobServiceClient.from_connection_string(self._connection_string, **options)
        except ValueError as error:
            raise bad_connection_string(error) from error

    def _target(self, name: str) -> BlobClient:
        if not is_usable(name):
            raise InvalidInput(f"'{name[:100]}' is not a valid blob name.", code="bad_blob_name")
        return self._client.get_blob_client(name)

    def _existing(self, name: str) -> BlobClient:
        # Such a name would be read as the name of another blob: URLs resolve `..`, and the emulator
        # converts backslashes.
        if not is_usable(name):
            raise missing(name)
        return self._client.get_blob_client(name)

    async def _ours(
        self, name: str, write_id: str, error: PreconditionFailed | Unavailable
    ) -> BlobInfo:
        """Return the blob if this write created it; otherwise raise the error of the write."""
        try:
            with mapped(f"reading the properties of the blob '{name}'"):
                properties = await self._existing(name).get_blob_properties()
        except NotFound:
            raise error from None
        if (properties.metadata or {}).get(_WRITE_ID) == write_id:
            return blob_info(properties)
        raise PreconditionFailed(
            f"A blob named '{name}' exists already. Nothing was written.", code="blob_exists"
        ) from error

    async def _delete(self, name: str) -> bool:
        return is_usable(name) and await delete_any(self._client.get_blob_client(name))


async def _undisturbed(write: Callable[[], Awaitable[BlobInfo]]) -> BlobInfo:
    """Repeat a write whose blocks were discarded by another writer's commit.

    A redelivered message makes two workers write the same blob.
    """
    for _ in range(_WRITE_TRIES - 1):
        try:
            return await write()
        except Unavailable as error:
            if error.code != CONCURRENT_WRITE:
                raise
    return await write()


async def _only(data: bytes) -> AsyncGenerator[bytes]:
    yield data
