"""Source videos on the local disk, so that a recording is fetched once and not once per segment.

A file's name is a hash of blob and ETag, so different content has a different name. Several
processes share the folder. A process that uses a file holds a shared lock on it. A process that
makes room removes only files that are not locked.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from core.domain.job import SourceFile
from core.errors import PreconditionFailed, StorageFull
from core.ports import BlobStore
from worker.disk import full_disk_told, require_room
from worker.scratch import Scratch
from worker.stop import StopFlag
from worker.stored import source_told

if TYPE_CHECKING:
    from ml_engine.video.index import VideoIndex

logger = logging.getLogger(__name__)

_SUFFIX = ".source"
_DOWNLOAD_LOCKS = 16
_LOCK_POLL_S = 0.1
LOCK_PATIENCE_S = 60.0
"""How long to wait for another process of this machine that fetches the same file."""
_KEPT_INDEXES = 64


class Probe(Protocol):
    """The indexer of video files, `worker.engine.Engine.probe`."""

    def __call__(self, path: Path, *, should_stop: Callable[[], bool]) -> VideoIndex: ...


class SourceCache:
    """A cache of source files that evicts the least recently used files first.

    Args:
        store: The store of the sources.
        folder: The cache folder; created if missing. On the same file system as `scratch`.
        scratch: Holds files that are not complete yet.
        limit_bytes: Most bytes to retain. Files in use are retained even beyond the limit.
        probe: The engine's `probe`, called with the path and `should_stop`.
    """

    def __init__(
        self,
        store: BlobStore,
        folder: Path,
        scratch: Scratch,
        *,
        limit_bytes: int,
        probe: Probe,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._store = store
        self._folder = folder
        self._scratch = scratch
        self._limit_bytes = limit_bytes
        self._probe = probe
        self._indexes: OrderedDict[str, VideoIndex] = OrderedDict()

    @asynccontextmanager
    async def open(
        self, files: Sequence[SourceFile], *, stop: StopFlag
    ) -> AsyncGenerator[list[tuple[Path, VideoIndex]]]:
        """Yield path and index of each file. The files are retained until the context is left.

        Raises:
            Stopped: `stop` was set before all files were fetched.
            VideoError: A source is gone (code `source_missing`), or differs from the submitted file
                (`source_changed`). Also raised by `probe`.
            UnsupportedMedia: Raised by `probe`.
            StorageFull: The disk is full.
            Unavailable: Storage does not respond.
        """
        async with AsyncExitStack() as stack:
            paths = [await stack.enter_async_context(self._file(file, stop)) for file in files]
            yield [
                (path, await self._index(file, path, stop))
                for file, path in zip(files, paths, strict=True)
            ]
        if self._over_limit():
            await asyncio.to_thread(self._make_room, 0)

    @asynccontextmanager
    async def _file(self, file: SourceFile, stop: StopFlag) -> AsyncGenerator[Path]:
        path = self._folder / (_key(file) + _SUFFIX)
        held = _hold(path, file.size_bytes)
        while held is None:
            with source_told(file.name), full_disk_told():
                await stop.unless_set(self._fetch(file, path))
            held = _hold(path, file.size_bytes)
        try:
            yield path
        finally:
            os.close(held)

    async def _index(self, file: SourceFile, path: Path, stop: StopFlag) -> VideoIndex:
        key = _key(file)
        if key not in self._indexes:
            with full_disk_told():
                self._indexes[key] = await stop.unless_set(
                    asyncio.to_thread(self._probe, path, should_stop=stop.is_set)
                )
        self._indexes.move_to_end(key)
        while len(self._indexes) > _KEPT_INDEXES:
            self._indexes.popitem(last=False)
        return self._indexes[key]

    async def _fetch(self, file: SourceFile, path: Path) -> None:
        """Fetch a file, unless another process has just fetched it."""
        lock = os.open(
            self._folder / f"download-{int(path.stem[:4], 16) % _DOWNLOAD_LOCKS}.lock",
            os.O_RDWR | os.O_CREAT,
            0o600,
        )
        try:
            give_up_at = time.monotonic() + LOCK_PATIENCE_S
            # A process that hangs retains its lock. Fetching a file twice is better than waiting
            # for that process forever.
            while not _locked(lock) and time.monotonic() < give_up_at:  # noqa: ASYNC110  the other process can set no event of ours
                await asyncio.sleep(_LOCK_POLL_S)
            if not _is_whole(path, file.size_bytes):
                await self._download(file, path)
        finally:
            os.close(lock)

    async def _download(self, file: SourceFile, path: Path) -> None:
        # A file that would not fit even into an empty cache must not evict the files of other jobs.
        # Its job waits and tries again repeatedly.
        require_room(self._folder, file.size_bytes, given_back=self._kept_bytes())
        await asyncio.to_thread(self._make_room, file.size_bytes)
        partial = self._scratch.new_path()
        began = time.monotonic()
        try:
            try:
                await self._get(file, partial)
            except StorageFull:
                # Other programs fill this disk, so evict every file that is not in use.
                await asyncio.to_thread(self._make_room, self._limit_bytes)
                await self._get(file, partial)
            if partial.stat().st_size != file.size_bytes:
                raise PreconditionFailed(
                    "The stored video does not have the length of the submitted one."
                )
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        extra = {
            "action": "source_fetched",
            "blob": file.blob,
            "size_bytes": file.size_bytes,
            "seconds": round(time.monotonic() - began, 3),
        }
        logger.info("source fetched", extra=extra)

    async def _get(self, file: SourceFile, partial: Path) -> None:
        # A job may wait for room all day. This check avoids fetching a part of the file each
        # minute.
        require_room(self._folder, file.size_bytes)
        await self._store.get_file(file.blob, partial, if_match=file.etag)

    def _entries(self) -> list[tuple[float, int, Path]]:
        entries = []
        for path in self._folder.glob(f"*{_SUFFIX}"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            entries.append((status.st_mtime, status.st_size, path))
        return sorted(entries)

    def _over_limit(self) -> bool:
        return self._kept_bytes() > self._limit_bytes

    def _kept_bytes(self) -> int:
        return sum(size for _, size, _ in self._entries())

    def _make_room(self, size_bytes: int) -> None:
        entries = self._entries()
        total = sum(size for _, size, _ in entries) + size_bytes
        for _, size, path in entries:
            if total <= self._limit_bytes:
                return
            if _evict(path):
                total -= size
                logger.info(
                    "source evicted", extra={"action": "source_evicted", "size_bytes": size}
                )


def _key(file: SourceFile) -> str:
    return hashlib.sha256(f"{file.blob}\n{file.etag}".encode()).hexdigest()[:32]


def _is_whole(path: Path, size_bytes: int) -> bool:
    try:
        return path.stat().st_size == size_bytes
    except FileNotFoundError:
        return False


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _hold(path: Path, size_bytes: int) -> int | None:
    """Lock a file against eviction, mark it as used and return the descriptor that holds the lock.

    Return None if the file is missing or incomplete.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        # The file may have been removed between opening and locking.
        same = os.stat(path).st_ino == os.fstat(descriptor).st_ino
        if same and os.fstat(descriptor).st_size == size_bytes:
            os.utime(path)
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def _evict(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        if not _locked(descriptor):
            return False
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(descriptor)
