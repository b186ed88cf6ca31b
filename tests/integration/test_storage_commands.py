"""What an operator types: `python -m worker.storage` and `python -m worker.sweep`, as processes on
real Azurite and an SQLite file.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from core.domain.blobs import source_blob, submitting_blob
from core.domain.clock import utc_now
from core.domain.identity import StorageIdentity
from core.domain.job import Job, SourceFile, new_job_id
from core.ports import Ports
from infra.azurite_server import AzuriteServer
from tests.support.api_stand import MP4
from tests.support.quick_worker import FRAMES
from tests.support.stack import Stack

SETTINGS = {
    "MUSTER_VISIBILITY_S": "30",
    "MUSTER_SWEEP_S": "0",
    "MUSTER_SEGMENT_FRAMES": str(FRAMES),
}
SWEPT = [
    "Jobs whose message was sent again: 0",
    "Announced deletions that were finished now: 0",
    "Deleted blobs of submissions that were never finished: 0",
    "Deleted unclaimed uploads: 0",
    "Deleted blobs of superseded results: 0",
    "Deleted late blobs of deleted jobs: 0",
]


@pytest.fixture
def stack(
    azurite: AzuriteServer, tmp_path: Path, unique_name: Callable[[str], str]
) -> Iterator[Stack]:
    stack = Stack(azurite, tmp_path, unique_name, SETTINGS)
    yield stack
    stack.stop()


def told(stack: Stack, module: str, *arguments: str, typed: str = "") -> list[str]:
    """Run a command that has to succeed; return its lines."""
    done = stack.run(module, *arguments, typed=typed)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def blobs(stack: Stack) -> dict[str, int]:
    async def read(ports: Ports) -> dict[str, int]:
        pages = [await store.page("", limit=5000) for store in (ports.sources, ports.results)]
        return {
            info.name: info.size_bytes for page in pages for info in page.items if "/" in info.name
        }

    return stack.with_ports(read, checked=False)


async def _nothing(ports: Ports) -> None:
    """The ports are opened: containers, queues and tables are there."""


def test_show_says_what_belongs_together_and_changes_nothing(stack: Stack) -> None:
    database = f"Database: SQLite file {stack.base / 'data' / 'muster.sqlite3'}"
    containers = [stack.env["BLOB_CONTAINER_INPUT"], stack.env["BLOB_CONTAINER_OUTPUT"]]
    queues = [stack.env["QUEUE_NAME"], f"{stack.env['QUEUE_NAME']}-detect"]

    def nothing_marked(found: str) -> list[str]:
        places = [
            *(f"Container {name}: {found}" for name in containers),
            *(f"Queue {name}: {found}" for name in queues),
        ]
        return [
            database,
            "  identity: none",
            *places,
            "Nothing is marked yet. The first process that starts marks database and storage.",
        ]

    for _ in range(2):
        assert told(stack, "worker.storage", "show") == nothing_marked("not there yet")
    assert not (stack.base / "data").exists(), "no database is made by looking"
    stack.with_ports(_nothing, checked=False)
    assert told(stack, "worker.storage", "show") == nothing_marked("no mark")

    async def identity(ports: Ports) -> StorageIdentity | None:
        return await ports.ledger.identity()

    own = stack.with_ports(identity)
    assert own is not None
    lines = told(stack, "worker.storage", "show")
    marked = f"{own.marked_at_utc:%Y-%m-%d %H:%M} UTC by {own.database}"
    assert lines == [
        database,
        f"  identity: {own.id}",
        *(f"Container {name}: {own.id}, written {marked}" for name in containers),
        *(f"Queue {name}: {own.id}" for name in queues),
        "They belong together.",
    ]
    refused = stack.run("worker.storage", "separate")
    assert (refused.returncode, "already belong together" in refused.stderr) == (1, True)

    stack.env["MUSTER_DATA_DIR"] = str(stack.base / "another")
    lines = told(stack, "worker.storage", "show")
    assert lines[1] == "  identity: none"
    assert lines[-1] == (
        "They do not belong together. `adopt` lets this database take over the storage, "
        "`separate` gives it containers and queues of its own."
    )
    assert stack.run("worker.sweep").returncode == 1
    assert told(stack, "worker.storage", "adopt")[0].startswith(
        f"This database (SQLite file {stack.base / 'another'}"
    )
    assert told(stack, "worker.storage", "show")[-1] == "They belong together."
    assert (
        told(stack, "worker.sweep", "--dry-run")[-1]
        == "All blobs of jobs and uploads belong to records of this database."
    )


def test_wrong_usage_and_a_wrong_configuration_are_2(stack: Stack) -> None:
    for module, *arguments in (("worker.storage",), ("worker.sweep", "--all")):
        done = stack.run(module, *arguments)
        assert (done.returncode, done.stdout) == (2, "") and "usage:" in done.stderr
    stack.env["MUSTER_DATA_DIR"] = "here"
    done = stack.run("worker.storage", "show")
    assert (done.returncode, done.stdout) == (2, "") and "give an absolute path" in done.stderr


async def _fill(ports: Ports, unknown: str, live: str, known: str) -> None:
    """Put blobs into storage: of a job without a record, of a submission on its way, of a job."""
    identity = await ports.ledger.identity()
    assert identity is not None
    for job_id, size in ((unknown, 100), (live, 20), (known, 3)):
        await ports.sources.put(source_blob(job_id, 0), bytes(size))
        await ports.results.put(f"jobs/{job_id}/log/key/00000.parquet", bytes(size))
    await ports.sources.put(submitting_blob(live), identity.mark.to_bytes())
    await ports.results.delete(f"jobs/{live}/log/key/00000.parquet")
    now = utc_now()
    times = {
        "created_at_utc": now,
        "updated_at_utc": now,
        "heartbeat_at_utc": now,
        "completed_at_utc": now,
    }
    file = SourceFile(name="a.mp4", blob=source_blob(known, 0), size_bytes=3, etag="x")
    await ports.jobs.add(Job(id=known, state="failed", files=(file,), **times))


def test_purge_deletes_what_it_has_shown_and_only_after_a_yes(stack: Stack) -> None:
    unknown, live, known = new_job_id(), new_job_id(), new_job_id()
    stack.with_ports(lambda ports: _fill(ports, unknown, live, known))
    before = blobs(stack)
    shown = [
        "These blobs are unclaimed: this database has no record, tombstone or marker for them. "
        "They are never deleted automatically:",
        f"  sources  {unknown}  1 blobs, 100 bytes, 0 hours old",
        f"  results  {unknown}  1 blobs, 100 bytes, 0 hours old",
        "In all: 2 folders and uploads, 2 blobs, 200 bytes. `muster storage recover` recreates "
        "records of jobs, `muster storage purge` deletes the blobs "
        "(in a container: `python -m worker.storage`).",
    ]
    question = "Permanently delete 200 bytes, 0 hours to 0 hours old? Type yes: "
    dry = told(stack, "worker.sweep", "--dry-run")
    assert sorted(dry[2:]) == sorted(shown)
    # Nothing is told by the sweep of what it would report after an hour, and nothing is deleted.
    assert told(stack, "worker.sweep") == [*SWEPT, "Jobs that expired: 0"]

    young = "There is nothing to delete. Every unclaimed blob has changed in the last 60 minutes."
    assert told(stack, "worker.storage", "purge", "--yes") == [young]

    alone = stack.run("tests.support.aged_storage", "worker.storage", "purge")
    assert alone.returncode == 1
    assert (
        alone.stderr.splitlines()[-1]
        == "The confirmation needs an interactive terminal. Add --yes to delete without asking."
    )
    assert sorted(alone.stdout.splitlines()) == sorted([*shown, question])
    assert (
        told(stack, "tests.support.aged_storage", "worker.storage", "purge", typed="y\n")[-1]
        == f"{question}Nothing was deleted."
    )
    assert blobs(stack) == before

    assert (
        told(stack, "tests.support.aged_storage", "worker.storage", "purge", typed="yes\n")[-1]
        == f"{question}2 blobs, 200 bytes were deleted."
    )
    assert blobs(stack) == {name: size for name, size in before.items() if unknown not in name}
    lines = told(stack, "tests.support.aged_storage", "worker.sweep")
    assert lines == [
        *SWEPT[:2],
        "Deleted blobs of submissions that were never finished: 2",
        *SWEPT[3:],
        "Jobs that expired: 0",
    ]
    assert {name.split("/")[1] for name in blobs(stack)} == {known}


def test_a_new_retention_waits_for_a_yes(stack: Stack) -> None:
    async def fill(ports: Ports) -> None:
        ended = utc_now() - timedelta(days=3)
        times = {
            "created_at_utc": ended,
            "updated_at_utc": ended,
            "heartbeat_at_utc": ended,
            "completed_at_utc": ended,
        }
        for _ in range(21):
            job_id = new_job_id()
            info = await ports.sources.put(source_blob(job_id, 0), b"film")
            file = SourceFile(
                name="a.mp4", blob=info.name, size_bytes=info.size_bytes, etag=info.etag
            )
            await ports.jobs.add(Job(id=job_id, state="failed", files=(file,), **times))

    stack.with_ports(fill)
    stack.env["MUSTER_RETENTION_DAYS"] = "2"
    lines = told(stack, "worker.sweep", "--dry-run")
    assert lines[1] == "Announced deletions that are not finished: 0. Jobs due to expire: 21."
    lines = told(stack, "worker.sweep")
    assert lines[:-1] == [*SWEPT, "Jobs that expired: 0"]
    assert lines[-1].startswith(
        "The retention (MUSTER_RETENTION_DAYS, MUSTER_RETENTION_RESULTS) is new and would delete the videos of 21 of 21"
    )
    assert len(blobs(stack)) == 21
    assert told(stack, "worker.sweep", "--yes") == [*SWEPT, "Jobs that expired: 21"]
    assert blobs(stack) == {}


def _submit_once(stack: Stack) -> httpx.Response:
    return stack.client.post(
        "/api/v1/jobs",
        files={"file": ("herd.mp4", MP4)},
        data={"settings": '{"camera": "north"}'},
        headers={"Idempotency-Key": "after the backup"},
    )


def _backup_after_a_job(stack: Stack, file: Path) -> Path:
    """Return the folder of a backup that was made when one job was done and all was stopped."""
    stack.start_api()
    worker = stack.start_worker("tests.support.quick_worker")
    stack.wait(stack.submit_bytes(MP4))
    stack.api.stop()
    worker.stop()
    backup = stack.base / "backup"
    shutil.copytree(file.parent, backup, ignore=shutil.ignore_patterns("cache"))
    names = {path.name for path in backup.iterdir()}
    assert names == {file.name}, "closed, all of it is in one file"
    return backup


def test_jobs_come_back_after_the_database_was_set_back_to_a_backup(stack: Stack) -> None:
    file = stack.base / "data" / "muster.sqlite3"
    backup = _backup_after_a_job(stack, file)
    stack.start_api()
    worker = stack.start_worker("tests.support.quick_worker")
    done = _submit_once(stack).json()["id"]
    assert stack.wait(done)["state"] == "completed"
    results, sheet = (
        stack.artifact(done, "results.json"),
        stack.client.get("/api/v1/all_stats").json(),
    )
    assert len(sheet) == 2
    worker.stop()
    waiting = stack.submit_bytes(MP4 + b"more")
    stack.api.stop()

    for path in file.parent.glob("muster.sqlite3*"):
        path.unlink()
    shutil.copy(backup / file.name, file)
    stack.start_api()
    assert stack.client.get(f"/api/v1/jobs/{done}").status_code == 404
    stored = blobs(stack)
    listed = re.findall(
        r"^  (\w+) +([0-9a-f]{32})  ",
        "\n".join(told(stack, "worker.sweep", "--dry-run")),
        re.MULTILINE,
    )
    assert sorted(listed) == sorted(
        (place, job_id) for place in ("sources", "results") for job_id in (done, waiting)
    )
    assert told(stack, "worker.storage", "recover") == [
        "Recreated records:",
        *sorted(
            [
                f"  {done}  completed, with its results, owner local, herd.mp4",
                f"  {waiting}  without results: POST …/retry, or recover --begin, counts it, owner local, 0.mp4",
            ]
        ),
    ]
    assert blobs(stack) == stored
    assert told(stack, "worker.storage", "recover") == ["No job record can be recreated."]
    job = stack.job(done)
    assert (job["state"], job["settings"]["camera"], job["files"][0]["name"]) == (
        "completed",
        "north",
        "herd.mp4",
    )
    assert stack.artifact(done, "results.json") == results
    assert stack.client.get("/api/v1/all_stats").json() == sheet, "its statistics are there, once"
    # The same request, sent again, finds its job.
    again = _submit_once(stack)
    assert (again.json()["id"], again.headers["idempotency-replayed"]) == (done, "true")
    job = stack.job(waiting)
    assert (job["state"], job["error"]["code"]) == ("failed", "recovered")
    assert stack.client.post(f"/api/v1/jobs/{waiting}/retry").status_code == 202
    stack.start_worker("tests.support.quick_worker")
    assert stack.wait(waiting)["state"] == "completed"
    assert len(stack.client.get("/api/v1/all_stats").json()) == 3
