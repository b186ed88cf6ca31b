"""Upload through the API against the raw SDK's to the same Azurite, in interleaved pairs; peak
memory of the API's process.
"""

from __future__ import annotations

import io
import os
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from azure.storage.blob import BlobServiceClient

from tests.bench.figures import Figure, interleaved, markdown_table, ratio_figure
from tests.support.raw_upload import post_video
from tests.support.servers import start_azurite
from tests.support.stack import Stack

MIB = 2**20
BLOCK = b"\x00\x00\x00\x20ftypisom" + os.urandom(4 * MIB - 12)


class _Repeated(io.RawIOBase):
    """A file of so many bytes that takes no memory: the same block again and again."""

    def __init__(self, size_bytes: int) -> None:
        self._left = size_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), len(BLOCK), self._left)
        buffer[:count] = BLOCK[:count]
        self._left -= count
        return count


class _PeakMemory:
    """Watches a process's resident memory from a thread of its own."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.base_bytes = self.peak_bytes = self._process.memory_info().rss

    def __enter__(self) -> _PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def growth_mib(self) -> float:
        """Peak over the first look, MiB."""
        return (self.peak_bytes - self.base_bytes) / MIB

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            self.peak_bytes = max(self.peak_bytes, self._process.memory_info().rss)


def measure(
    *, pairs: int = 7, pair_mib: int = 256, memory_mib: tuple[int, ...] = (50, 1024)
) -> list[Figure]:
    """Run the benchmark.

    Args:
        pairs: How many pairs of one upload each way.
        pair_mib: Size of each of these uploads, MiB.
        memory_mib: Sizes of the uploads during which memory is watched, MiB.
    """
    with tempfile.TemporaryDirectory() as folder:
        azurite = start_azurite(Path(folder) / "azurite")
        stack = Stack(
            azurite, Path(folder) / "stack", lambda prefix: f"{prefix}-{uuid.uuid4().hex[:12]}", {}
        )
        try:
            stack.start_api()
            return _measure(stack, azurite.connection_string, pairs, pair_mib, memory_mib)
        finally:
            stack.client.close()
            stack.api.stop()
            azurite.stop()


def _measure(
    stack: Stack, connection_string: str, pairs: int, pair_mib: int, memory_mib: tuple[int, ...]
) -> list[Figure]:
    # As FACTS found the SDK fastest: blocks of 4 MiB, handed on without another copy.
    fastest: dict[str, Any] = {
        "max_block_size": 4 * MIB,
        "max_single_put_size": 4 * MIB,
        "min_large_block_upload_threshold": 1,
    }
    figures = []
    with BlobServiceClient.from_connection_string(connection_string, **fastest) as service:
        container = service.create_container(f"raw-{uuid.uuid4().hex[:12]}")

        def through_sdk() -> None:
            container.upload_blob(
                "raw",
                _Repeated(pair_mib * MIB),
                length=pair_mib * MIB,
                overwrite=True,
                max_concurrency=4,
            )

        def through_api() -> None:
            _post(stack, pair_mib)

        through_sdk()
        through_api()
        timed = interleaved(through_sdk, through_api, pairs=pairs)
    what = f"upload of {pair_mib} MiB: throughput through the API over the raw SDK's, same Azurite"
    figures.append(ratio_figure(what, [sdk_s / api_s for sdk_s, api_s in timed], at_least=0.9))
    fastest_mib_s = pair_mib / min(api_s for _, api_s in timed)
    figures.append(
        Figure("upload through the API, fastest of the pairs", f"{fastest_mib_s:.0f} MiB/s")
    )
    for size_mib in memory_mib:
        assert stack.api.process is not None
        with _PeakMemory(stack.api.process.pid) as memory:
            _post(stack, size_mib)
        grown = memory.growth_mib
        base = memory.base_bytes / MIB
        figures.append(
            Figure(
                f"API's memory while {size_mib} MiB are uploaded",
                f"base {base:.0f} MiB, peak + {grown:.0f} MiB",
                "≤ + 64 MiB",
                grown <= 64,
            )
        )
    return figures


def _post(stack: Stack, size_mib: int) -> None:
    status, body = post_video(stack.port, _blocks(size_mib), size_mib * MIB)
    if status != 202:
        raise RuntimeError(f"the API answered {status}: {body[:500]!r}")


def _blocks(size_mib: int) -> Iterator[bytes]:
    left = size_mib * MIB
    while left > 0:
        yield BLOCK[:left] if left < len(BLOCK) else BLOCK
        left -= len(BLOCK)


if __name__ == "__main__":
    print(markdown_table(measure()))
