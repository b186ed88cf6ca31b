"""The blob adapter against the raw SDK: throughput of an upload to one Azurite, and what it needs
of memory.

Run it alone with `python -m tests.bench.bench_upload_adapter`.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

from azure.storage.blob.aio import ContainerClient

from core.adapters.azure.blob import AzureBlobStore
from tests.bench.figures import Figure, markdown_table, memory_mib, ratio_figure
from tests.support.servers import start_azurite

MIB = 2**20
_CHUNK_BYTES = 64 * 1024
_API_VERSION = "2025-11-05"


async def chunks_of(size_bytes: int) -> AsyncIterator[bytes]:
    """Yield that many bytes in pieces such as a web server hands on."""
    piece = bytes(range(256)) * (_CHUNK_BYTES // 256)
    for start in range(0, size_bytes, _CHUNK_BYTES):
        yield piece[: size_bytes - start]


async def throughput(
    connection_string: str, *, size_bytes: int, pairs: int
) -> list[tuple[float, float]]:
    """Time uploads of the same bytes in turn, the order alternating.

    Returns:
        Per pair the seconds of the raw SDK's `upload_blob` (from memory, four blocks of 4 MiB at
        once) and of `put_stream`.
    """
    name = f"bench-{uuid.uuid4().hex[:12]}"
    data = b"".join([chunk async for chunk in chunks_of(size_bytes)])
    store = AzureBlobStore(container=name, connection_string=connection_string)
    await store.open()
    raw = ContainerClient.from_connection_string(
        connection_string,
        name,
        api_version=_API_VERSION,
        max_block_size=4 * MIB,
        max_single_put_size=4 * MIB,
        min_large_block_upload_threshold=1,
    )

    async def by_sdk() -> float:
        start = time.perf_counter()
        await raw.upload_blob("sdk", data, overwrite=True, max_concurrency=4)
        return time.perf_counter() - start

    async def by_adapter() -> float:
        start = time.perf_counter()
        await store.put_stream("adapter", chunks_of(size_bytes))
        return time.perf_counter() - start

    timed: list[tuple[float, float]] = []
    async with raw:
        for number in range(-1, pairs):
            if number % 2 == 0:
                one = await by_sdk()
                pair = (one, await by_adapter())
            else:
                other = await by_adapter()
                pair = (await by_sdk(), other)
            # The first pair only warms connections and disk up.
            timed += [pair] if number >= 0 else []
        await raw.delete_container()
    await store.close()
    return timed


async def upload_once(connection_string: str, size_bytes: int) -> dict[str, float]:
    """Upload through the adapter in this process; return RSS before and at its peak, in MiB."""
    store = AzureBlobStore(
        container=f"bench-{uuid.uuid4().hex[:12]}", connection_string=connection_string
    )
    await store.open()
    base = memory_mib("VmHWM")
    await store.put_stream("x", chunks_of(size_bytes))
    peak = memory_mib("VmHWM")
    await store.delete_prefix("x")
    await store.close()
    return {"base_mib": base, "peak_mib": peak}


def memory(connection_string: str, size_bytes: int) -> float:
    """Return by how many MiB a fresh process grows at most while it uploads that many bytes."""
    argv = [sys.executable, "-m", "tests.bench.bench_upload_adapter", str(size_bytes)]
    # Not as an argument: every user of the machine sees those.
    env = {**os.environ, "AZURE_STORAGE_CONNECTION_STRING": connection_string}
    seen = json.loads(
        subprocess.run(argv, env=env, check=True, capture_output=True, text=True).stdout
    )
    return seen["peak_mib"] - seen["base_mib"]


def measure(*, size_bytes: int = 128 * MIB, pairs: int = 9) -> list[Figure]:
    """Return the figures of this benchmark."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        azurite = start_azurite(Path(folder))
        try:
            timed = asyncio.run(
                throughput(azurite.connection_string, size_bytes=size_bytes, pairs=pairs)
            )
            growth = {
                size: memory(azurite.connection_string, size) for size in (50 * MIB, 1024 * MIB)
            }
        finally:
            azurite.stop()
    mib = size_bytes / MIB
    speeds = [sorted(mib / pair[side] for pair in timed)[len(timed) // 2] for side in (0, 1)]
    figures = [
        Figure("upload, raw SDK", f"{speeds[0]:.0f} MiB/s"),
        Figure("upload, blob adapter", f"{speeds[1]:.0f} MiB/s"),
        ratio_figure(
            "upload, blob adapter / raw SDK",
            [sdk / adapter for sdk, adapter in timed],
            at_least=0.9,
        ),
    ]
    figures += [
        Figure(
            f"upload of {size // MIB} MiB by the adapter: peak RSS over base",
            f"{grown:.0f} MiB",
            "≤ 64 MiB",
            grown <= 64,
        )
        for size, grown in growth.items()
    ]
    return figures


if __name__ == "__main__":
    if len(sys.argv) == 2:
        print(
            json.dumps(
                asyncio.run(
                    upload_once(os.environ["AZURE_STORAGE_CONNECTION_STRING"], int(sys.argv[1]))
                )
            )
        )
    else:
        print(markdown_table(measure()))
