"""Two databases on one storage: the second is refused before anything is touched, and gets storage
of its own, or this one, on the operator's word alone."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.bootstrap import close_ports, make_ports, open_ports
from core.domain.blobs import log_blob, result_blob, source_blob
from core.domain.clock import utc_now
from core.domain.job import Job, SourceFile, new_job_id
from core.domain.message import JobMessage
from core.errors import ForeignStorage
from core.ports import Ports
from core.services.housekeeping.keeper import Report
from core.services.housekeeping.unclaimed import noted_unclaimed
from infra.azurite_server import AzuriteServer
from infra.processes import accepts_connections
from tests.support.api_stand import MP4
from tests.support.cut_line import CutLine
from tests.support.stack import Stack
from tests.support.two_databases import COMMANDS, Two, assert_refused, refused_sweep, stored, sweep

ORDERS = (("sqlite", "sqlite"), ("sqlite", "mongo"), ("mongo", "sqlite"))
"""Whose the storage is, and who comes second.

The last is a machine on which `MONGO_URI` was forgotten.
"""
REFUSED = (
    ("worker.sweep",),
    ("worker.sweep", "--dry-run"),
    ("worker.sweep", "--yes"),
    ("worker.storage", "recover", "--begin"),
    ("worker.storage", "purge", "--yes"),
)


@pytest.fixture
def two(
    request: pytest.FixtureRequest,
    azurite: AzuriteServer,
    tmp_path: Path,
    unique_name: Callable[[str], str],
) -> Iterator[Callable[..., list[Stack]]]:
    """Makes two stacks; their kinds are the arguments."""
    made: list[Two] = []

    def make(*kinds: str) -> list[Stack]:
        made.append(
            Two(azurite, lambda: request.getfixturevalue("mongo"), tmp_path, unique_name, kinds)
        )
        return made[-1].stacks

    yield make
    for each in made:
        each.stop()


def completed(stack: Stack, job_ids: list[str]) -> None:
    for job_id in job_ids:
        assert stack.wait(job_id)["state"] == "completed"
        assert stack.artifact(job_id, "annotated.mp4") == b"video of 35 frames, 1 tracks"
        assert stack.artifact(job_id, "results.json")


@pytest.mark.parametrize("kinds", ORDERS, ids=" beside ".join)
def test_promise_a_second_database_is_refused_then_has_storage_of_its_own(
    two: Callable[..., list[Stack]], kinds: tuple[str, str]
) -> None:
    first, second = two(*kinds)
    first.start_api()
    worker = first.start_worker("tests.support.quick_worker")
    jobs = [first.submit_bytes(MP4) for _ in range(2)]
    completed(first, jobs)
    worker.stop()
    # Their messages lie in the queue, for whoever takes them; an upload waits for its job.
    jobs += [first.submit_bytes(MP4) for _ in range(2)]
    link = first.client.post("/api/v1/uploads", json={"size_bytes": len(MP4)}).json()
    assert httpx.put(link["url"], headers=link["headers"], content=MP4).status_code == 201
    before = stored(first)

    # Every process costs seconds, and what database it has makes no difference to most.
    assert_refused(second, commands=REFUSED if kinds == ORDERS[0] else REFUSED[:1])
    # What that refusal keeps away, too, does no harm: the sweeper of a database that knows none of
    # this.
    refused_sweep(second)
    assert stored(first) == before

    done = second.run("worker.storage", "separate")
    assert done.returncode == 0, done.stderr
    own = dict(line.split(" → ") for line in done.stdout.splitlines()[1:])
    settings = ("BLOB_CONTAINER_INPUT", "BLOB_CONTAINER_OUTPUT", "QUEUE_NAME")
    assert [name.strip() for name in own] == [
        *(second.env[name] for name in settings),
        f"{second.env['QUEUE_NAME']}-detect",
    ]
    assert stored(first) == before

    first.start_worker("tests.support.quick_worker")
    second.start_api()
    second.start_worker("tests.support.quick_worker")
    others = [second.submit_bytes(MP4) for _ in range(3)]
    completed(second, others)
    completed(first, jobs)
    before, beside = stored(first), stored(second)
    assert {name.split("/")[0] for name in beside} == set(list(own.values())[:2])
    assert sweep(second) == Report()
    assert (stored(first), stored(second)) == (before, beside)
    # The upload's link is dead by then, and says so itself.
    assert sweep(first) == Report(uploads=1)
    gone = set(before) - set(stored(first))
    assert {name.split("/")[1] for name in gone} == {"uploads"} and len(gone) == 2
    assert stored(second) == beside
    completed(first, jobs)
    completed(second, others)


async def use_as_before(ports: Ports) -> list[str]:
    """Leave what a release without marks leaves: records and blobs of completed jobs, and no mark
    anywhere.
    """
    ids = [new_job_id() for _ in range(4)]
    for job_id in ids:
        info = await ports.sources.put(source_blob(job_id, 0), MP4)
        await ports.results.put(log_blob(job_id, "key", 0), b"log")
        await ports.results.put(result_blob(job_id, "r0001-a", "results.json"), b"{}")
        now = utc_now()
        file = SourceFile(name="a.mp4", blob=info.name, size_bytes=info.size_bytes, etag=info.etag)
        times = {
            "created_at_utc": now,
            "updated_at_utc": now,
            "heartbeat_at_utc": now,
            "completed_at_utc": now,
        }
        facts = {"state": "completed", "result_revision": "r0001-a", "artifacts": ("results.json",)}
        await ports.jobs.add(Job(id=job_id, files=(file,), **times, **facts))
    return ids


async def nothing(ports: Ports) -> None:
    """Open the ports, and no more."""


@pytest.mark.parametrize("kinds", ORDERS, ids=" beside ".join)
def test_promise_of_two_older_databases_the_first_to_start_has_the_storage(
    two: Callable[..., list[Stack]], kinds: tuple[str, str]
) -> None:
    first, second = two(*kinds)
    ids = {id(stack): stack.with_ports(use_as_before, checked=False) for stack in (first, second)}
    before = stored(first)
    first.with_ports(nothing)
    with pytest.raises(ForeignStorage, match="do not belong together"):
        second.with_ports(nothing)
    assert sweep(first) == Report()
    told = first.with_ports(lambda ports: noted_unclaimed(ports.ledger))
    assert (told["folders"], told["blobs"], told["bytes"]) == (8, 12, 4 * (len(MP4) + 3 + 2))
    refused_sweep(second)

    def blobs() -> dict[str, Any]:
        return {
            name: facts
            for name, facts in stored(first).items()
            if not name.endswith("/muster-identity.json")
        }

    assert blobs() == before
    assert second.run("worker.sweep").returncode == 1
    done = second.run("worker.storage", "adopt")
    assert done.returncode == 0, done.stderr
    listed = re.findall(r"^  (?:sources|results) +([0-9a-f]{32})  ", done.stdout, re.MULTILINE)
    assert sorted(listed) == sorted([*ids[id(first)]] * 2), done.stdout
    with pytest.raises(ForeignStorage):
        first.with_ports(nothing)
    assert sweep(second) == Report()
    refused_sweep(first)
    assert blobs() == before
    # And back again: it was never lost.
    assert first.run("worker.storage", "adopt").returncode == 0
    assert sweep(first) == Report()
    assert blobs() == before


def test_promise_of_two_databases_that_start_at_the_same_moment_one_has_the_storage(
    two: Callable[..., list[Stack]],
) -> None:
    stacks = two("sqlite", "sqlite")

    async def start(stack: Stack) -> bool:
        ports = make_ports(stack.config())
        try:
            await open_ports(ports)
        except ForeignStorage:
            return False
        finally:
            await close_ports(ports)
        return True

    async def both() -> list[bool]:
        return await asyncio.gather(*(start(stack) for stack in stacks))

    started = asyncio.run(both())
    assert sorted(started) == [False, True]
    assert asyncio.run(both()) == started, "and so it stays"


def test_promise_messages_of_another_storage_are_neither_done_nor_given_up(
    two: Callable[..., list[Stack]],
) -> None:
    stack, _ = two("sqlite", "sqlite")
    foreign = "f" * 32

    async def prepare(ports: Ports) -> list[bytes]:
        waiting = (await use_as_before(ports))[0]
        job = await ports.jobs.get(waiting)
        job = await ports.jobs.begin_attempt(
            waiting, expected_attempt=1, settings=job.settings, state="queued", at=utc_now()
        )
        bodies = [
            JobMessage(job_id=name, attempt=2, step="plan", identity=foreign).to_bytes()
            for name in (waiting, new_job_id())
        ]
        bodies.append(
            b'{"v": 9, "job_id": "x", "step": "dream", "identity": "%s"}' % foreign.encode()
        )
        for body in bodies:
            await ports.queue.send(body)
        return [waiting.encode(), *bodies]

    waiting, *bodies = stack.with_ports(prepare)
    worker = stack.start_worker("tests.support.quick_worker")

    def deliveries() -> list[int]:
        messages = [line["message_id"] for line in stack.actions("foreign_message")]
        return sorted(messages.count(message) for message in set(messages))

    deadline = time.monotonic() + 120
    # Once more than an own message may fail.
    while len(deliveries()) < 3 or min(deliveries()) < 3:
        assert time.monotonic() < deadline, stack.logs()
        time.sleep(0.1)
    stack.start_api()
    own = stack.submit_bytes(MP4)
    completed(stack, [own])
    worker.stop()

    async def ask(ports: Ports) -> tuple[Job, list[int], list[int]]:
        depths = [await queue.depth() for queue in (ports.queue, ports.detect_queue)]
        return (
            await ports.jobs.get(waiting.decode()),
            [depth.messages for depth in depths],
            [depth.poisoned for depth in depths],
        )

    job, left, poisoned = stack.with_ports(ask)
    assert (left, poisoned) == ([len(bodies), 0], [0, 0])
    assert (job.state, job.attempt, job.step_starts, job.step_failures, job.error) == (
        "queued",
        2,
        {},
        {},
        None,
    )
    assert stack.actions("message_poisoned") == []


def test_promise_an_api_that_meets_another_storage_when_it_comes_back_serves_nothing(
    azurite: AzuriteServer, two: Callable[..., list[Stack]]
) -> None:
    first, second = two("sqlite", "sqlite")
    first.with_ports(use_as_before)
    before = stored(first)
    lines = {
        port: CutLine(int(port))
        for port in re.findall(r"http://127\.0\.0\.1:(\d+)", azurite.connection_string)
    }
    try:
        for line in lines.values():
            line.cut()
        second.env["AZURE_STORAGE_CONNECTION_STRING"] = re.sub(
            r"(?<=127\.0\.0\.1:)\d+",
            lambda match: str(lines[match[0]].port),
            azurite.connection_string,
        )
        second.api.start()
        second.api.wait_ready(lambda: accepts_connections(second.port), timeout_s=60)
        assert code_of(second) == "not_open"
        for line in lines.values():
            line.mend()
        deadline = time.monotonic() + 60
        while (code := code_of(second)) == "not_open":
            assert time.monotonic() < deadline, second.logs()
            time.sleep(0.1)
        assert code == "foreign_storage"
        refused = second.client.post("/api/v1/jobs", files={"file": ("a.mp4", MP4)})
        assert (refused.status_code, refused.json()["code"]) == (503, "foreign_storage")
        # What database this is, and what to do, is for the operator and not for clients.
        assert "Its log says which installations they belong to" in refused.json()["detail"]
        assert all(command in second.api.log_path.read_text() for command in COMMANDS)
        assert second.client.get("/health/ready").status_code == 503
        assert second.client.get("/health/live").status_code == 200
        assert second.api.alive
    finally:
        for line in lines.values():
            with suppress(RuntimeError):
                line.close()
    assert stored(first) == before


def code_of(stack: Stack) -> str:
    answer = stack.client.get("/api/v1/jobs")
    assert answer.status_code == 503
    return answer.json()["code"]
