"""The marker of an unfinished submission goes once its job's record stands, or it would allow to
delete videos whose record is lost.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from core.domain.blobs import submitting_blob
from core.errors import VideoError
from core.services.attempts.cancel import cancel
from tests.fakes import IDENTITY
from tests.support.worker_stand import WorkerStand

MARKER = submitting_blob("job1")


@pytest.fixture
async def stand(tmp_path: Path) -> WorkerStand:
    """A job that an API recorded, and which died before it could delete the marker."""
    stand = WorkerStand(tmp_path)
    await stand.submit()
    await stand.ports.sources.put(MARKER, IDENTITY.mark.to_bytes())
    return stand


async def names(stand: WorkerStand) -> list[str]:
    return [info.name async for info in stand.ports.sources.list_blobs("")]


async def test_the_first_step_deletes_it_also_where_the_video_is_refused(
    stand: WorkerStand,
) -> None:
    def refuse(*_: object) -> None:
        raise VideoError("It is no video.")

    stand.engine.hooks["probe"] = refuse
    await stand.deliver(stand.worker())
    assert ((await stand.job()).state, await names(stand)) == ("failed", ["jobs/job1/source/000"])
    stand.close()


async def test_cancelling_deletes_it_because_no_first_step_will(stand: WorkerStand) -> None:
    assert (await cancel(stand.ports, stand.timer.now, "job1", owner=None)).state == "cancelled"
    assert await names(stand) == ["jobs/job1/source/000"]
    stand.close()


async def test_a_job_is_cancelled_also_while_storage_is_away(stand: WorkerStand) -> None:
    stand.ports.sources.away = True
    assert (await cancel(stand.ports, stand.timer.now, "job1", owner=None)).state == "cancelled"
    stand.ports.sources.away = False
    assert MARKER in await names(stand)
    stand.close()
