"""An installation of release 0.1 starts under this one, its jobs complete, and nothing of it is deleted, changed or counted twice.

`tests/data/installation_0_1` has the installation and what made it. The tests share one that was upgraded, and run in order.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient

from core.domain.blobs import JOBS_PREFIX, UPLOADS_PREFIX
from core.domain.clock import utc_now
from core.domain.housekeeping import HousekeepingRules
from core.domain.job import Job
from core.domain.webhook import WebhookEvent
from core.errors import MusterError
from core.ports import Ports
from core.services.attempts.dispatch import Dispatcher
from core.services.housekeeping.keeper import Housekeeping
from infra.processes import StartError
from tests.conftest import REPOSITORY, unavailable
from tests.support.azurite_stand import API_VERSION
from tests.support.networks import share_networks
from tests.support.servers import start_azurite
from tests.support.stack import Stack

INSTALLATION = REPOSITORY / "tests" / "data" / "installation_0_1"
NAMES = {"raw": "raw-videos", "out": "processed-videos", "jobs": "video-processing-queue"}
LIKE_QUEUED = ("queued", "planning", "detecting", "assembling", "assembling_unasked")
ACTIVE = (*LIKE_QUEUED, "rendering")
ENDED = (
    *(
        "completed",
        "completed_without_video",
        "completed_without_statistics",
        "completed_untold",
        "recounted",
    ),
    *("failed", "cancelled", "expired", "expired_with_results"),
)
UNCOUNTED = ("failed", "cancelled")
# As if two days had passed: everything is old, also what was written just now.
ALL_OLD = timedelta(days=-2)


class Upgraded:
    """The installation under this release: Azurite on its own ports, an API and a worker.

    Attributes:
        expected: What release 0.1 said of it; see `make.py` beside the archive.
        ids: Of its jobs, by what they were made for.
        replaced: Blobs of results that a recount of before has replaced: the sweeper may delete them.
        statistics: As they are when all its jobs have ended.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self.expected: dict[str, Any] = json.loads((INSTALLATION / "expected.json").read_text())
        self.ids = {name: job["id"] for name, job in self.expected["jobs"].items()}
        with tarfile.open(INSTALLATION / "installation.tar.xz") as archive:
            archive.extractall(base, filter="data")
        self.database = base / "data" / "muster.sqlite3"
        shutil.copyfile(self.database, base / "older.sqlite3")
        share_networks(base / "data")
        self.azurite = start_azurite(base)
        # Webhooks are given up after so many hours, and the installation grows old.
        settings = {"MUSTER_SEGMENT_FRAMES": "6", "MUSTER_WEBHOOK_HOURS": "1000000"}
        self.stack = Stack(self.azurite, base, NAMES.__getitem__, settings)
        self.replaced = {f"{NAMES['out']}/{name}" for name in self.expected["unpublished"]}
        self.statistics: dict[str, Any] = {}
        self._fresh: dict[str, dict[str, Any]] = {}

    def start(self) -> None:
        """Start this release and let it end what there is to do."""
        self.stack.start_api()
        self.stack.start_worker()
        for name in ACTIVE:
            self.stack.wait(self.ids[name])
        self.wait_for_statistics(len(self.ids) - len(UNCOUNTED))
        self.statistics = {record["job_id"]: record for record in self.all_statistics()}

    def stop(self) -> None:
        """Stop all of it."""
        self.stack.stop()
        self.azurite.stop()

    def restore_older_database(self) -> None:
        """Stop this release and put the database back that was there before it started."""
        for child in (self.stack.api, *self.stack.workers):
            child.stop()
        for path in self.database.parent.glob(f"{self.database.name}*"):
            path.unlink()
        shutil.copyfile(self.base / "older.sqlite3", self.database)

    def stored_states(self) -> dict[str, str]:
        """Return the state of every job that the database knows, by id."""
        with closing(sqlite3.connect(self.database)) as opened:
            return dict(opened.execute("SELECT id, state FROM jobs"))

    def run(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of this release on the installation."""
        argv = [sys.executable, "-m", module, *arguments]
        return subprocess.run(
            argv, env=self.stack.env, cwd=REPOSITORY, capture_output=True, text=True
        )

    def wait_for_statistics(self, number: int) -> None:
        """Wait until so many jobs have statistics: they are written after a job has completed."""
        self.stack.wait(
            self.ids["completed"], until=lambda job: len(self.all_statistics()) >= number
        )

    def all_statistics(self) -> list[dict[str, Any]]:
        """Return the statistics of all jobs."""
        return (
            self.stack.client.get("/api/v1/stats", params={"limit": 200})
            .raise_for_status()
            .json()["items"]
        )

    def submit(
        self, name: str, *, srt: bool = False, key: str | None = None, **more: Any
    ) -> dict[str, Any]:
        """Submit the film as the job of this name was; return the answer's content, with its headers under `headers`."""
        files = [("file", ("film.mp4", (self.base / "film.mp4").read_bytes(), "video/mp4"))]
        files += [
            ("telemetry", ("film.srt", (self.base / "film.srt").read_bytes(), "text/plain"))
        ] * srt
        data = {"settings": json.dumps(self.expected["settings"] | more)}
        headers = {"Idempotency-Key": key} if key else {}
        answer = self.stack.client.post("/api/v1/jobs", files=files, data=data, headers=headers)
        assert answer.status_code == 202, f"{name}: {answer.text}"
        return answer.json() | {"headers": answer.headers}

    def fresh(self) -> dict[str, dict[str, Any]]:
        """Return jobs like two of the installation's, by name, that this release has done from the beginning."""
        if not self._fresh:
            flight = {"srt": True, "flight": self.expected["flight"]}
            ids = {
                name: self.submit(name, render=False, **more)["id"]
                for name, more in (("queued", {}), ("detecting", flight))
            }
            self._fresh = {name: self.stack.wait(job_id) for name, job_id in ids.items()}
        return self._fresh

    def blobs(self) -> dict[str, dict[str, str]]:
        """Return the SHA-256 of every blob, by container and name."""

        async def read(ports: Ports) -> dict[str, dict[str, str]]:
            found: dict[str, dict[str, str]] = {}
            for name, store in (("sources", ports.sources), ("results", ports.results)):
                names = [info.name async for info in store.list_blobs("")]
                found[name] = {
                    blob: hashlib.sha256(await store.get(blob)).hexdigest() for blob in names
                }
            return found

        return self.stack.with_ports(read)

    def etags(self) -> dict[str, str]:
        """Return the ETag of every blob of a job or an upload, by container and name, as a client sees them that is no part of Muster."""
        with BlobServiceClient.from_connection_string(
            self.azurite.connection_string, api_version=API_VERSION
        ) as client:
            return {
                f"{container}/{blob.name}": blob.etag
                for container in (NAMES["raw"], NAMES["out"])
                for prefix in (JOBS_PREFIX, UPLOADS_PREFIX)
                for blob in client.get_container_client(container).list_blobs(
                    name_starts_with=prefix
                )
            }

    def sweep(self) -> None:
        """Do what the API does by itself once in a while, as if much time had passed."""
        rules = HousekeepingRules(
            visibility=timedelta(milliseconds=1), least_age=ALL_OLD, upload_life=timedelta(0)
        )
        self.stack.with_ports(
            lambda ports: Housekeeping(ports, Dispatcher(ports), utc_now, rules).run(
                everything=True
            )
        )


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    try:
        made = Upgraded(tmp_path_factory.mktemp("upgrade"))
    except StartError as error:
        unavailable(str(error))
    try:
        made.start()
        yield made
    finally:
        made.stop()


def lost_or_changed(
    before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]
) -> list[str]:
    return [
        f"{place}: {name}"
        for place, blobs in before.items()
        for name, digest in blobs.items()
        if after[place].get(name) != digest
    ]


def counts_of(job: dict[str, Any]) -> dict[str, dict[str, int]]:
    return {
        name: {key: figures[key] for key in ("unique", "low", "high", "peak")}
        for name, figures in job["counts"].items()
    }


def counts_as_now(counts: dict[str, dict[str, Any]] | None) -> dict[str, dict[str, Any]] | None:
    """Return counts of release 0.1 as this release answers them: a basis, and codes of reasons."""
    return counts and {
        name: figures
        | {
            "interval_basis": "detected",
            "reasons": [
                {"code": "doubtful", "text": text.removeprefix("doubtful: ")}
                for text in figures["reasons"]
            ],
        }
        for name, figures in counts.items()
    }


async def _job(ports: Ports, job_id: str) -> Job:
    return await ports.jobs.get(job_id)


async def _events(ports: Ports, job_id: str) -> list[WebhookEvent]:
    return await ports.webhooks.of_job(job_id)


def _tried_more(job: dict[str, Any], tries: int) -> bool:
    return bool(job["webhook"]["deliveries"][0]["tries"] > tries)


def test_promise_every_job_in_work_completes_as_if_submitted_today(upgraded: Upgraded) -> None:
    stack, expected, fresh = upgraded.stack, upgraded.expected, upgraded.fresh()
    assert {job["state"] for job in fresh.values()} == {"completed"}
    for name in ACTIVE:
        job = stack.job(upgraded.ids[name])
        assert (job["state"], job["attempt"], job["error"]) == ("completed", 1, None), name
        assert counts_of(job) == counts_of(expected["jobs"]["completed"]), name
    for name in LIKE_QUEUED:
        like = fresh["detecting" if name == "detecting" else "queued"]
        assert stack.job(upgraded.ids[name])["artifacts"] == like["artifacts"], name
        assert stack.artifact(upgraded.ids[name], "results.json") == stack.artifact(
            like["id"], "results.json"
        ), name
    assert (
        len(json.loads(stack.artifact(upgraded.ids["detecting"], "tracks.geojson"))["features"]) > 0
    )

    # What release 0.1 had assembled is rendered and published, not made again.
    staged = f"jobs/{upgraded.ids['rendering']}/results/"
    (revision,) = {
        blob.split("/")[3] for blob in expected["blobs"]["results"] if blob.startswith(staged)
    }
    assert (
        stack.with_ports(lambda ports: ports.jobs.get(upgraded.ids["rendering"])).result_revision
        == revision
    )
    assert (
        stack.job(upgraded.ids["rendering"])["artifacts"]
        == expected["jobs"]["completed"]["artifacts"]
    )


def test_promise_an_ended_job_stays_as_it_was(upgraded: Upgraded) -> None:
    for name in ENDED:
        was = upgraded.expected["jobs"][name]
        job = upgraded.stack.job(was["id"])
        same = (
            "state",
            "attempt",
            "counts",
            "error",
            "expired",
            "artifacts",
            "created_at_utc",
            "completed_at_utc",
        )
        as_now = {**was, "counts": counts_as_now(was["counts"])}
        assert {key: job[key] for key in same} == {key: as_now[key] for key in same}, name
        stored = upgraded.stack.with_ports(partial(_job, job_id=was["id"]))
        assert stored.result_revision == was["revision"], name
    assert lost_or_changed(upgraded.expected["blobs"], upgraded.blobs()) == []


def test_promise_an_event_that_was_not_told_is_still_to_be_told(upgraded: Upgraded) -> None:
    # No secret is configured, so nothing is sent: each try leaves the event where it was.
    for name in ("completed_untold", "assembling"):
        (was,) = upgraded.expected["webhooks"][name]
        upgraded.stack.wait(was["job_id"], until=partial(_tried_more, tries=was["tries"]))
        (event,) = upgraded.stack.with_ports(partial(_events, job_id=was["job_id"]))
        assert (event.id, event.state, event.event) == (was["id"], "due", "completed"), name
        assert (
            event.body == was["body"]
            if was["body"]
            else json.loads(event.body or "")["job_id"] == was["job_id"]
        ), name


def test_promise_nothing_is_counted_twice(upgraded: Upgraded) -> None:
    records, before = upgraded.statistics, upgraded.expected["statistics"]
    counted = {job_id for name, job_id in upgraded.ids.items() if name not in UNCOUNTED}
    assert records.keys() == counted
    for name, was in before.items():
        assert records[upgraded.ids[name]] == was, name
    same = ("attempt", "classes", "frames", "total_in", "total_out", "timestamp_utc")
    for name in (*ACTIVE, "completed_without_statistics"):
        record = records[upgraded.ids[name]]
        assert {key: record[key] for key in same} == {
            key: before["completed"][key] for key in same
        }, name
    assert before["completed"]["total_in"] == 1

    film = before["completed"]["classes"]["cattle"]["unique"]
    # Those of before, those that were in work, and what a test may have submitted since.
    since = sum(record["job_id"] not in counted for record in upgraded.all_statistics())
    cattle = sum(record["classes"]["cattle"]["unique"] for record in before.values()) + film * (
        len(counted) - len(before) + since
    )
    asked = {"bucket": "day", "class": "cattle", "camera": "north"}
    series = (
        upgraded.stack.client.get("/api/v1/stats/timeseries", params=asked)
        .raise_for_status()
        .json()["items"]
    )
    figures = [(bucket["start_utc"], bucket["jobs"], bucket["unique_sum"]) for bucket in series]
    assert figures == [("2026-05-01T00:00:00Z", len(counted) + since, cattle)]


@pytest.mark.parametrize(("name", "settings"), [("completed", {}), ("queued", {"render": False})])
def test_promise_an_idempotency_key_still_stands_for_its_job(
    upgraded: Upgraded, name: str, settings: dict[str, Any]
) -> None:
    again = upgraded.submit(name, key=f"key-of-{name}", **settings)
    assert again["id"] == upgraded.ids[name]
    assert "idempotency-replayed" in again["headers"]


def test_promise_a_sweep_deletes_nothing_of_what_an_older_release_left(upgraded: Upgraded) -> None:
    before = upgraded.etags()
    upgraded.sweep()
    after = upgraded.etags()
    assert before.keys() - after.keys() == upgraded.replaced, (
        "results that a recount replaced go as ever, and nothing else"
    )
    assert after.items() <= before.items()
    uploads = [name.split("/")[3] for name in after if name.startswith(f"{NAMES['raw']}/uploads/")]
    assert sorted(uploads) == sorted(upgraded.expected["uploads"])
    assert (
        [name for name in upgraded.expected["orphans"] if f"{NAMES['raw']}/{name}" in after]
        == upgraded.expected["orphans"]
        != []
    )
    depths = upgraded.stack.with_ports(lambda ports: ports.queue.depth())
    assert depths.poisoned == upgraded.expected["messages"]["queue"]["poisoned"] == 1


def test_promise_a_restored_older_database_is_refused_and_recovers(upgraded: Upgraded) -> None:
    stack, fresh, statistics = upgraded.stack, upgraded.fresh(), upgraded.all_statistics()
    lost = {job["id"]: stack.artifact(job["id"], "results.json") for job in fresh.values()}
    upgraded.restore_older_database()
    before = upgraded.etags()
    assert {name.split("/")[2] for name in before} >= lost.keys(), (
        "the older database does not know these"
    )

    swept = upgraded.run("worker.sweep")
    with suppress(MusterError):
        upgraded.sweep()
    assert upgraded.etags() == before, "nothing is deleted"
    assert swept.returncode != 0 and "worker.storage" in swept.stderr, (
        "it says which command is needed"
    )
    assert upgraded.stored_states() == {
        job["id"]: job["state"] for job in upgraded.expected["jobs"].values()
    }, "nothing is worked on"

    adopted, recovered = (
        upgraded.run("worker.storage", "adopt"),
        upgraded.run("worker.storage", "recover"),
    )
    for job_id in lost:
        assert job_id in adopted.stdout, f"reported\n{adopted.stdout}{adopted.stderr}"
        assert job_id in recovered.stdout, f"made again\n{recovered.stdout}{recovered.stderr}"
    upgraded.sweep()
    after = upgraded.etags()
    assert {
        name for name, etag in before.items() if after.get(name) != etag
    } <= upgraded.replaced, "nothing is deleted now"
    stack.restart_api(stack.env)
    stack.start_worker()
    for name in ACTIVE:
        job = stack.wait(upgraded.ids[name])
        assert (job["state"], counts_of(job)) == (
            "completed",
            counts_of(upgraded.expected["jobs"]["completed"]),
        ), name
    for job in fresh.values():
        assert stack.job(job["id"])["counts"] == job["counts"]
        assert stack.artifact(job["id"], "results.json") == lost[job["id"]]
    # One of them has used up the message that would have made its statistics: `recover` makes them.
    figures = {record["job_id"]: record["classes"] for record in statistics}
    upgraded.wait_for_statistics(len(figures))
    assert {
        record["job_id"]: record["classes"] for record in upgraded.all_statistics()
    } == figures, "one record a job, as before"
