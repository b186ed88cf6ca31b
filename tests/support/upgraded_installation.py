"""An installation of release 0.1 that starts under this release."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from azure.storage.blob import BlobServiceClient

from core.domain.blobs import JOBS_PREFIX, UPLOADS_PREFIX
from core.domain.clock import utc_now
from core.domain.housekeeping import HousekeepingRules
from core.ports import Ports
from core.services.attempts.dispatch import Dispatcher
from core.services.housekeeping.keeper import Housekeeping
from tests.conftest import REPOSITORY
from tests.support.azurite_stand import API_VERSION
from tests.support.networks import share_networks
from tests.support.servers import start_azurite
from tests.support.stack import Stack

INSTALLATION = REPOSITORY / "tests" / "data" / "installation_0_1"
NAMES = {"raw": "raw-videos", "out": "processed-videos", "jobs": "video-processing-queue"}
LIKE_QUEUED = ("queued", "planning", "detecting", "assembling", "assembling_unasked")
ACTIVE = (*LIKE_QUEUED, "rendering")
UNCOUNTED = ("failed", "cancelled")
# As if two days had passed: everything is old, also what was written just now.
ALL_OLD = timedelta(days=-2)


class Upgraded:
    """The installation under this release: Azurite on its own ports, an API and a worker.

    Attributes:
        expected: What release 0.1 said of it; see `make.py` beside the archive.
        ids: Of its jobs, by what they were made for.
        replaced: Blobs of results that a recount of before has replaced: the sweeper may delete
            them.
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
        """Submit the film as the job of this name was; return the answer's content, with its
        headers under `headers`.
        """
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
        """Return jobs like two of the installation's, by name, that this release has done from the
        beginning.
        """
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
        """Return the ETag of every blob of a job or an upload, by container and name, as a client
        sees them that is no part of Muster.
        """
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
