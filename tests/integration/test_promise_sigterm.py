"""Promise: a worker that is told to stop gives back at once what it cannot finish; another one
takes it up, and finished segments stay.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from infra.azurite_server import AzuriteServer
from tests.support.azurite_stand import azurite_stand

LONG_S = 120
VISIBILITY_S = 300
"""Whoever waits for the lease to end waits longer than the test."""


def log_lines(path: Path, action: str) -> list[dict[str, Any]]:
    lines = [
        json.loads(line)
        for line in path.read_text().splitlines()
        if line.startswith("{") and line.endswith("}")
    ]
    return [line for line in lines if line.get("action") == action]


def seconds_between(one: dict[str, Any], other: dict[str, Any]) -> float:
    return (datetime.fromisoformat(other["at"]) - datetime.fromisoformat(one["at"])).total_seconds()


async def test_sigterm_releases_what_cannot_be_finished_and_another_worker_takes_it_up(
    azurite: AzuriteServer, tmp_path: Path, unique_name: Callable[[str], str]
) -> None:
    async with azurite_stand(
        tmp_path, azurite.connection_string, unique_name, visibility_s=VISIBILITY_S
    ) as stand:
        await stand.submit(b"35 frames")
        other = stand.worker("worker-b", segment_frames=10)
        # The plan and two segments are done before.
        for _ in range(3):
            await stand.deliver(other)
        finished = set((await stand.job()).done_segments)
        assert len(finished) == 2
        stopped = stand.start_worker(tmp_path, {"detect_segment": LONG_S}, MUSTER_GRACE_S="8")
        try:
            await stand.wait(lambda job: any(key.startswith("detect") for key in job.step_starts))
            assert stopped.process is not None
            stopped.process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            await asyncio.to_thread(stopped.process.wait, 60)
            assert stopped.process.returncode == 0
            assert time.monotonic() - began < 30, (
                "it waits neither for the engine nor for the grace period"
            )
        finally:
            stopped.stop()
        (told,), (released,) = (
            log_lines(stopped.log_path, "worker_stopping"),
            log_lines(stopped.log_path, "message_released"),
        )
        print(f"released {seconds_between(told, released):.2f} s after SIGTERM")
        # 0.5 s are the engine's to notice; the rest of a second is for a machine with more to do
        # than this.
        assert seconds_between(told, released) < 8, "released long before the grace period ends"
        stand.engine.segments.clear()
        async with stand.consuming(other):
            await stand.wait(timeout_s=60)
            await stand.settled(timeout_s=60)
        await stand.assert_one_result()
        assert sorted([*finished, *stand.engine.segments]) == [0, 1, 2, 3], (
            "finished segments are not detected again"
        )
        assert (await stand.job()).step_failures == {}
