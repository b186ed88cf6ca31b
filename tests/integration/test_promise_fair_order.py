"""Promise: what one owner submits delays another's job by little, on real queues, with workers that
take messages as they come.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from infra.azurite_server import AzuriteServer
from tests.support.azurite_stand import AzuriteStand, azurite_stand

THEIRS = [f"theirs{number:02d}" for number in range(4)]
SEGMENT_S = 0.02


@pytest.fixture
async def stand(
    azurite: AzuriteServer, tmp_path: Path, unique_name: Callable[[str], str]
) -> AsyncIterator[AzuriteStand]:
    async with azurite_stand(
        tmp_path, azurite.connection_string, unique_name, visibility_s=5
    ) as stand:
        stand.engine.hooks["detect_segment"] = lambda *_: time.sleep(SEGMENT_S)
        yield stand


async def segments_done(stand: AzuriteStand) -> int:
    return sum([len((await stand.job(job_id)).done_segments) for job_id in THEIRS])


async def test_a_job_ends_while_many_segments_of_another_owner_wait(stand: AzuriteStand) -> None:
    for job_id in THEIRS:
        await stand.submit(b"200 frames", job_id=job_id, owner="ranch", render=False)
    async with stand.consuming(stand.worker("worker-a"), stand.worker("worker-b")):
        await stand.wait(lambda job: len(job.done_segments) >= 4, job_id=THEIRS[0])
        before = await segments_done(stand)
        await stand.submit(b"40 frames", job_id="mine", owner="park", render=False)
        mine = await stand.wait(job_id="mine")
        # Four segments of its own, and not many more of theirs: without turns all 80 would come
        # first.
        assert mine.state == "completed"
        assert await segments_done(stand) - before <= 36
        for job_id in THEIRS:
            assert (await stand.wait(job_id=job_id)).state == "completed"
        await stand.settled()
    assert len(stand.engine.segments) == 4 * 20 + 4, "each segment once"
