"""A TCP line between two programs that a test can cut and mend: the service at its end lives, and
cannot be reached.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Literal

How = Literal["refused", "silent"]


class CutLine:
    """Passes on what comes to a port of its own on loopback.

    Args:
        target_port: Where to, on loopback.

    Attributes:
        port: Of its own.
    """

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self._target_port = target_port
        self._silent = False
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cut-line", daemon=True)
        self._thread.start()
        self._do(self._listen())

    def cut(self, how: How = "refused") -> None:
        """Cut the line: connections break and new ones are refused, or nothing is heard on any of
        them, old or new.
        """
        self._do(self._cut(how))

    def mend(self) -> None:
        """Let everything through again; what hung until now breaks."""
        self._do(self._mend())

    def close(self) -> None:
        """End it."""
        self._do(self._cut("refused"))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _cut(self, how: How) -> None:
        if how == "silent":
            self._silent = True
            return
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._break()

    async def _mend(self) -> None:
        if self._silent:
            self._silent = False
            await self._break()
        if self._server is None:
            await self._listen()

    async def _break(self) -> None:
        broken = set(self._links)
        for link in broken:
            link.transport.abort()
        # Only those: programs that try again at once make new ones all the time.
        while self._links & broken:  # noqa: ASYNC110  the tasks that hold them end by themselves
            await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._links.add(writer)
        target: asyncio.StreamWriter | None = None
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                there, target = await asyncio.open_connection("127.0.0.1", self._target_port)
                self._links.add(target)
                await asyncio.gather(self._pass_on(reader, target), self._pass_on(there, writer))
        finally:
            for link in (writer, target):
                if link is not None:
                    self._links.discard(link)
                    link.transport.abort()

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            while self._silent:  # noqa: ASYNC110  whoever mends the line breaks the connection
                await asyncio.sleep(0.05)
            target.write(data)
            await target.drain()
        # One end has gone: so does the other.
        raise ConnectionResetError
