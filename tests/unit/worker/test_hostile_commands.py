"""The operator's commands beside broken, foreign or living jobs: one that cannot be helped stops
nothing, and nothing unseen is deleted.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from core.bootstrap import open_ports
from core.config.housekeeping import HousekeepingSection
from core.config.queues import QueueSection
from core.domain.blobs import log_blob, result_blob, source_blob, submission_blob
from core.domain.job import Job
from core.domain.message import JobMessage
from core.services.access.limits import Limits
from core.services.attempts.recount import recount
from tests.support.api_stand import make_job
from tests.support.worker_stand import WorkerStand
from worker import storage
from worker.storage import purge, recover_all

RULES = HousekeepingSection().rules(QueueSection())
LIMITS = Limits(max_upload_bytes=10**6, max_files=5, upload_minutes=60)


def key(number: int) -> str:
    return f"{number:032x}"


@pytest.fixture
async def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WorkerStand]:
    stand = WorkerStand(tmp_path)
    await open_ports(stand.ports)
    monkeypatch.setattr(storage, "utc_now", stand.timer.now)
    yield stand
    stand.close()


async def blobs(stand: WorkerStand) -> set[str]:
    stores = (stand.ports.sources, stand.ports.results)
    return {
        info.name for store in stores for info in (await store.page("jobs/", limit=10_000)).items
    }


async def lost(
    stand: WorkerStand, number: int, *, film: bool = True, results: bytes | None = None
) -> Job:
    """Leave what a job leaves whose record was lost."""
    job = make_job(key(number), stand.timer.now())
    await stand.ports.results.put(submission_blob(job.id), job.model_dump_json().encode())
    if film:
        await stand.ports.sources.put(job.files[0].blob, b"film")
    if results is not None:
        for name, body in {"results.json": results, "run.json": b"{}"}.items():
            await stand.ports.results.put(result_blob(job.id, "r0001-aaaaaaaa", name), body)
    return job


def results(**more: object) -> bytes:
    return json.dumps({"settings": {}, "counts": {}, **more}).encode()


# ---------------------------------------------------------------- recover


async def test_a_job_that_cannot_be_begun_stops_no_other(stand: WorkerStand) -> None:
    await lost(stand, 1, film=False, results=b"?")
    await lost(stand, 2)
    await lost(stand, 3, film=False, results=b"?")
    await lost(stand, 4)
    stand.timer.advance(1)
    lines = await recover_all(stand.ports, begin=True, rules=RULES)
    states = {number: (await stand.job(key(number))).state for number in range(1, 5)}
    assert states == {1: "failed", 2: "queued", 3: "failed", 4: "queued"}
    assert [line.split()[0] for line in lines if line.startswith("  ")] == [
        key(number) for number in range(1, 5)
    ]
    assert "not started" in lines[1] and "started again" in lines[2]
    sent = [JobMessage.from_bytes(body).job_id for body in stand.ports.queue.bodies()]
    assert sent == [key(2), key(4)]


@pytest.mark.parametrize(
    "broken",
    [b"?", b"{}", results(), results(video={}, lines=[])],
    ids=["text", "empty", "old", "older"],
)
async def test_results_without_statistics_stop_no_other(stand: WorkerStand, broken: bytes) -> None:
    """A release of before, or a file that was damaged: there is a record, and its results make no
    statistics.
    """
    for number in (1, 2):
        await lost(stand, number, results=broken)
        fields = {"state": "completed", "result_revision": "r0001-aaaaaaaa", "counts": {}}
        await stand.ports.jobs.add(make_job(key(number), stand.timer.now(), **fields))
    await lost(stand, 3)
    stand.timer.advance(1)
    lines = await recover_all(stand.ports, begin=True, rules=RULES)
    assert (await stand.job(key(3))).state == "queued"
    assert [key(number) in "\n".join(lines) for number in (1, 2, 3)] == [True] * 3


async def test_results_that_a_backup_does_not_know_are_shown_again(stand: WorkerStand) -> None:
    """Counted again after the backup: the sweeper has deleted the revision that the backup's record
    names.
    """
    await stand.submit(b"19 frames")
    await stand.drain(stand.worker())
    backup = await stand.job()
    await recount(
        stand.ports,
        stand.dispatcher,
        LIMITS,
        stand.timer.now,
        "job1",
        {"population": "closed"},
        owner=None,
    )
    await stand.drain(stand.worker())
    newest = await stand.job()
    await stand.ports.results.delete_prefix(result_blob("job1", str(backup.result_revision), ""))
    await stand.ports.jobs.delete("job1")
    await stand.ports.jobs.add(backup)
    before = await blobs(stand)
    lines = await recover_all(stand.ports, begin=False, rules=RULES)
    job = await stand.job()
    same = ("state", "result_revision", "counts", "artifacts", "settings", "files")
    assert {name: getattr(job, name) for name in same} == {
        name: getattr(newest, name) for name in same
    }
    assert any("job1" in line for line in lines) and await blobs(stand) == before
    stored = await stand.ports.stats.get("job1")
    assert stored is not None and stored.revision == newest.result_revision
    again = await recover_all(stand.ports, begin=False, rules=RULES)
    assert not any("job1" in line for line in again) and await stand.job() == job


async def test_results_that_are_gone_are_said_to_be(stand: WorkerStand) -> None:
    await stand.submit(b"19 frames")
    await stand.drain(stand.worker())
    job = await stand.job()
    await stand.ports.results.delete_prefix(result_blob("job1", str(job.result_revision), ""))
    lines = await recover_all(stand.ports, begin=True, rules=RULES)
    assert any("job1" in line and "gone" in line for line in lines)
    assert await stand.job() == job


# ---------------------------------------------------------------- purge


@pytest.mark.parametrize("young", ["film", "log"])
async def test_purge_leaves_a_job_alone_of_which_a_part_is_young(
    stand: WorkerStand, young: str
) -> None:
    """Another database's worker writes to it: what was shown would be the old part, and all of it
    would go.
    """
    await lost(stand, 1)
    await lost(stand, 2)
    stand.timer.advance(7200)
    if young == "film":
        await stand.ports.sources.put(source_blob(key(1), 1), b"second film")
    else:
        await stand.ports.results.put(log_blob(key(1), "k", 0), b"log")
    asked: list[str] = []

    def say_yes(question: str) -> str:
        asked.append(question)
        return "yes"

    await purge(stand.ports, RULES, ask=say_yes)
    assert {name.split("/")[1] for name in await blobs(stand)} == {key(1)}
    assert len(asked) == 1
    stand.timer.advance(timedelta(hours=2).total_seconds())
    await purge(stand.ports, RULES, ask=None)
    assert await blobs(stand) == set()
