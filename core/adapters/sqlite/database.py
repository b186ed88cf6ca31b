"""An SQLite file with a thread of its own. Several processes may use the same file at once."""

from __future__ import annotations

import asyncio
import errno
import functools
import itertools
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

from core.adapters.sqlite.schema import VERSIONS
from core.errors import MusterError, PermanentError, StorageFull, Unavailable

T = TypeVar("T")
_PRIMARY_CODE = 0xFF
# SQLite reports this code instead of FULL when a quota or a limit on the file size is reached.
_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}
_REASONS = {
    sqlite3.SQLITE_BUSY: "another process keeps it locked",
    sqlite3.SQLITE_LOCKED: "another process keeps it locked",
    sqlite3.SQLITE_CORRUPT: "it is damaged; restore it from a backup or move it away",
    sqlite3.SQLITE_NOTADB: "it is not an SQLite database; move it away",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check the folder and its permissions",
    sqlite3.SQLITE_READONLY: "it cannot be written to; check its permissions",
    sqlite3.SQLITE_PERM: "its permissions forbid it",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
}


class SqliteDatabase:
    """A database file that several stores of one process share.

    Every transaction is one function that runs on the database's own thread, so the event loop
    never waits for the disk. The thread and its connection exist from the first `open` to the last
    `close`.

    Args:
        path: The file. It and its folder are created if missing. It must be on a local disk,
            because WAL needs shared memory.
        busy_timeout_s: How long to wait for other processes' writes before the database counts as
            unavailable.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float = 5.0) -> None:
        self.path = Path(path)
        self._busy_timeout_s = busy_timeout_s
        self._users: set[int] = set()
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None
        self._opening = asyncio.Lock()

    async def open(self, user: object) -> None:
        """Register a user, such as a store. Idempotent for each user.

        Raises:
            Unavailable: The file cannot be used.
            StorageFull: There is no space to create the file.
            PermanentError: A newer Muster wrote the file (code `database_newer`).
        """
        async with self._opening:
            if self._connection is None:
                thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
                try:
                    self._connection = await asyncio.wrap_future(thread.submit(self._connect))
                except BaseException:
                    thread.shutdown(wait=False)
                    raise
                self._thread = thread
            self._users.add(id(user))

    async def close(self, user: object) -> None:
        """Unregister a user; the last one closes the file. Idempotent."""
        async with self._opening:
            self._users.discard(id(user))
            if self._users or self._thread is None or self._connection is None:
                return
            thread, connection = self._thread, self._connection
            self._thread = self._connection = None
            await asyncio.wrap_future(thread.submit(connection.close))
            thread.shutdown(wait=False)

    async def look(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Run a function that reads the file without opening the database.

        Nothing is created or changed.

        Returns:
            The result of the function; None if the file does not exist or has no tables.

        Raises:
            Unavailable: The file cannot be read.
        """
        return await asyncio.to_thread(self._look, work)

    def _look(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        if not self.path.exists():
            return None
        try:
            with closing(
                sqlite3.connect(
                    f"{self.path.absolute().as_uri()}?mode=ro",
                    uri=True,
                    timeout=self._busy_timeout_s,
                )
            ) as connection:
                tables = connection.execute(
                    "SELECT count(*) FROM sqlite_master WHERE type = 'table'"
                ).fetchone()
                return work(connection) if tables[0] else None
        except sqlite3.Error as error:
            raise self._mapped(error) from error

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function in a read transaction, in which it sees one state of the database.

        Raises:
            Unavailable: The database is locked for too long, damaged or not open.
            StorageFull: The disk is full.
        """
        return await self._run("BEGIN", work)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function in a write transaction, all of it or nothing. Raises as `read` does."""
        # A deferred transaction reads first and writes later. If another process writes in between,
        # the deferred one fails at once, without waiting for the timeout.
        return await self._run("BEGIN IMMEDIATE", work)

    async def _run(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._thread is None or self._connection is None:
            raise Unavailable(f"The database {self.path} is not open.", code="database_unavailable")
        return await asyncio.wrap_future(
            self._thread.submit(self._transaction, self._connection, begin, work)
        )

    def _transaction(
        self, connection: sqlite3.Connection, begin: str, work: Callable[[sqlite3.Connection], T]
    ) -> T:
        try:
            connection.execute(begin)
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                # After some errors SQLite has rolled back already, and on a broken disk the
                # rollback fails, too. The first error is the one to report.
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
            return result
        except sqlite3.Error as error:
            raise self._mapped(error) from error

    def _connect(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                self.path, timeout=self._busy_timeout_s, isolation_level=None
            )
            self._retry_while_locked(
                functools.partial(connection.execute, "PRAGMA journal_mode = WAL")
            )
            # An accepted job must survive a power failure, not only a crash of this process.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA journal_size_limit = 67108864")
            self._create_schema(connection)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, (sqlite3.Error, OSError)):
                raise self._mapped(error) from error
            raise
        return connection

    def _retry_while_locked(self, action: Callable[[], object]) -> None:
        # SQLite does not wait for locks when it turns WAL on, and every process that opens a new
        # file tries to do so.
        deadline = time.monotonic() + self._busy_timeout_s
        while True:
            try:
                action()
                return
            except sqlite3.OperationalError as error:
                if (
                    error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY
                    or time.monotonic() > deadline
                ):
                    raise
            time.sleep(0.02)

    def _create_schema(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > len(VERSIONS):
                raise PermanentError(
                    f"A newer Muster wrote the database {self.path}. Update this one, or set "
                    "MUSTER_DATA_DIR to another folder.",
                    code="database_newer",
                )
            if version < len(VERSIONS):
                for statement in itertools.chain.from_iterable(VERSIONS[version:]):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {len(VERSIONS)}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def _mapped(self, error: sqlite3.Error | OSError) -> MusterError:
        if isinstance(error, OSError):
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                return self._full()
            return Unavailable(
                f"The database {self.path} cannot be used: {error.strerror}.",
                code="database_unavailable",
            )
        extended = getattr(error, "sqlite_errorcode", 0)
        if extended in _NO_ROOM:
            return self._full()
        code = extended & _PRIMARY_CODE
        reason = _REASONS.get(code, str(error))
        return Unavailable(
            f"The database {self.path} cannot be used: {reason}.",
            code="database_unavailable",
            cause=str(error),
        )

    def _full(self) -> StorageFull:
        sentence = (
            f"The disk that holds {self.path} is full. Make room. "
            "Until then, requests are refused and jobs wait."
        )
        return StorageFull(sentence, disk_of="database")
