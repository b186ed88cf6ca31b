"""How soon a worker notices a message, and how often it asks when there is none: seen by a proxy in
front of Azurite's queues.

Run it alone with `python -m tests.bench.bench_idle`.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from core.adapters.azure.queue import AzureJobQueue
from infra.azurite_server import AzuriteServer
from infra.processes import Child, free_ports
from tests.bench.figures import Figure, markdown_table
from tests.support.servers import start_azurite
from tests.support.stack import REPOSITORY

IDLE_AFTER_S = 12.0
WATCHED_S = 20.0


class Proxy:
    """Passes TCP on to Azurite's queue port; counts requests and notes when a message goes to the
    worker.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self.requests = 0
        self.delivered = asyncio.Event()

    async def serve(self, port: int) -> asyncio.Server:
        """Listen on a loopback port."""
        return await asyncio.start_server(self._connected, "127.0.0.1", port)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        await asyncio.gather(
            _pump(reader, up_writer, self._saw_request), _pump(up_reader, writer, self._saw_answer)
        )

    def _saw_request(self, data: bytes) -> None:
        self.requests += data.count(b" HTTP/1.1\r\n")

    def _saw_answer(self, data: bytes) -> None:
        if b"<PopReceipt>" in data and b"<MessageText>" in data:
            self.delivered.set()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, saw: Callable[[bytes], None]
) -> None:
    try:
        while data := await reader.read(65536):
            saw(data)
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        return
    finally:
        writer.close()


async def _watch(azurite: AzuriteServer, base: Path, times: int) -> list[Figure]:
    (proxy_port,) = free_ports(1)
    proxy = Proxy(azurite.ports[1])
    server = await proxy.serve(proxy_port)
    name = f"jobs-{uuid.uuid4().hex[:12]}"
    env = {
        **os.environ,
        "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string_through(
            blob_port=azurite.ports[0], queue_port=proxy_port
        ),
        "QUEUE_NAME": name,
        "MUSTER_DATA_DIR": str(base / "data"),
    }
    queue = AzureJobQueue(queue=name, connection_string=azurite.connection_string, account_url=None)
    await queue.open()
    worker = Child(
        "worker", [sys.executable, "-m", "worker.main"], run_dir=base, env=env, cwd=REPOSITORY
    )
    worker.start()
    try:
        noticed_s = [await _notice(proxy, queue) for _ in range(times + 1)][1:]
        await asyncio.sleep(IDLE_AFTER_S)
        before = proxy.requests
        await asyncio.sleep(WATCHED_S)
        per_s = (proxy.requests - before) / WATCHED_S
    finally:
        await asyncio.to_thread(worker.stop)
        await queue.close()
        server.close()
    median_ms, worst_ms = statistics.median(noticed_s) * 1000, max(noticed_s) * 1000
    return [
        Figure(
            f"recently active worker notices a message, worst of {times}",
            f"{worst_ms:.0f} ms",
            "≤ 200 ms",
            worst_ms <= 200,
        ),
        Figure("the same, median", f"{median_ms:.0f} ms"),
        Figure(
            "worker idle for over 10 s: requests to the queues",
            f"{per_s:.2f} per second",
            "≤ 2",
            per_s <= 2,
        ),
    ]


async def _notice(proxy: Proxy, queue: AzureJobQueue) -> float:
    # What no worker can decode is put aside at once, and is work like any other.
    proxy.delivered.clear()
    await queue.send(b'{"not": "a job"}')
    start = time.perf_counter()
    await asyncio.wait_for(proxy.delivered.wait(), 60)
    took = time.perf_counter() - start
    await asyncio.sleep(0.7)
    return took


def measure(*, times: int = 15) -> list[Figure]:
    """Return the figures of this benchmark."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        azurite = start_azurite(Path(folder) / "azurite")
        try:
            return asyncio.run(_watch(azurite, Path(folder), times))
        finally:
            azurite.stop()


if __name__ == "__main__":
    print(markdown_table(measure()))
