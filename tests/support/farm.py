"""Worker processes on containers, queues and a database of their own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from core.bootstrap import close_ports, make_ports
from core.domain.analysis import AnalysisSettings
from core.domain.blobs import job_prefix, source_blob
from core.domain.clock import utc_now
from core.domain.job import Job, SourceFile, new_job_id
from core.domain.message import JobMessage
from core.ports import Ports
from core.services.attempts.dispatch import Dispatcher
from infra.azurite_server import AzuriteServer
from infra.processes import Child
from tests.conftest import REPOSITORY
from tests.support.configuration import ports_config
from tests.support.networks import share_networks

FRAMES, SEGMENT_FRAMES = 120, 16
VISIBILITY_S = 3


class Farm:
    """Containers, queues and a database of the test's own, and worker processes on them."""

    def __init__(
        self, azurite: AzuriteServer, base: Path, name: Callable[[str], str], model: str
    ) -> None:
        self.base = base
        self.workers: list[Child] = []
        share_networks(base / "data")
        self.env = {
            "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string,
            "BLOB_CONTAINER_INPUT": name("raw"),
            "BLOB_CONTAINER_OUTPUT": name("out"),
            "QUEUE_NAME": name("jobs"),
            "MODEL_NAME": model,
            "MUSTER_DATA_DIR": str(base / "data"),
            "MUSTER_VISIBILITY_S": str(VISIBILITY_S),
            "MUSTER_SEGMENT_FRAMES": str(SEGMENT_FRAMES),
        }
        config = ports_config(
            storage_connection=azurite.connection_string,
            input_container=self.env["BLOB_CONTAINER_INPUT"],
            output_container=self.env["BLOB_CONTAINER_OUTPUT"],
            queue_name=self.env["QUEUE_NAME"],
            data_dir=base / "data",
        )
        self.ports: Ports = make_ports(config)
        self.dispatcher = Dispatcher(self.ports)

    def start(self, *arguments: str, module: str = "worker.main", **env: str) -> Child:
        """Start one more worker."""
        argv = [sys.executable, "-m", module, *arguments]
        child = Child(
            f"worker{len(self.workers)}",
            argv,
            run_dir=self.base,
            env={**os.environ, **self.env, **env},
            cwd=REPOSITORY,
        )
        child.start()
        self.workers.append(child)
        return child

    async def submit(self, *videos: Path, age: timedelta = timedelta(0), **settings: Any) -> Job:
        job_id, now, files = new_job_id(), utc_now() - age, []
        for index, video in enumerate(videos):
            info = await self.ports.sources.put_file(source_blob(job_id, index), video)
            files.append(
                SourceFile(
                    name=video.name, blob=info.name, size_bytes=info.size_bytes, etag=info.etag
                )
            )
        job = Job(
            id=job_id,
            settings=AnalysisSettings(only="cattle", **settings),
            files=tuple(files),
            created_at_utc=now,
            updated_at_utc=now,
            heartbeat_at_utc=now,
        )
        await self.ports.jobs.add(job)
        await self.dispatcher.send(JobMessage(job_id=job_id, attempt=1, step="plan"))
        return job

    async def wait(
        self,
        job_id: str,
        until: Callable[[Job], bool] = lambda job: job.is_terminal,
        *,
        timeout_s: float = 120,
    ) -> Job:
        deadline = time.monotonic() + timeout_s
        while not until(job := await self.ports.jobs.get(job_id)):
            assert time.monotonic() < deadline, f"{job}\n{self.tails()}"
            await asyncio.sleep(0.02)
        return job

    async def completed(self, job_id: str) -> dict[str, bytes]:
        """Wait for the job; return its result files but `run.json`, and check that its statistics
        are there.
        """
        job = await self.wait(job_id)
        assert job.state == "completed", f"{job.error}\n{self.tails()}"
        deadline = time.monotonic() + 10
        while (statistics := await self.ports.stats.get(job_id)) is None:
            assert time.monotonic() < deadline, "no statistics"
            await asyncio.sleep(0.05)
        assert (statistics.revision, statistics.frames) == (job.result_revision, FRAMES)
        prefix = f"{job_prefix(job_id)}results/{job.result_revision}/"
        names = [blob.name async for blob in self.ports.results.list_blobs(prefix)]
        assert {name.removeprefix(prefix) for name in names} == set(job.artifacts)
        return {
            name.removeprefix(prefix): await self.ports.results.get(name)
            for name in names
            if not name.endswith("run.json")
        }

    def lines(self, action: str, *workers: Child) -> list[dict[str, Any]]:
        """Return the log lines with this action, of these workers or all."""
        texts = [worker.log_path.read_text() for worker in workers or self.workers]
        parsed = [
            json.loads(line)
            for text in texts
            for line in text.splitlines()
            if line.startswith("{") and line.endswith("}")
        ]
        return [line for line in parsed if line.get("action") == action]

    async def wait_line(self, action: str, *, timeout_s: float = 60) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while not (found := self.lines(action)):
            assert time.monotonic() < deadline, f"no {action}\n{self.tails()}"
            await asyncio.sleep(0.02)
        return found[-1]

    def tails(self) -> str:
        return "\n".join(f"--- {worker.name}\n{worker.log_tail(20)}" for worker in self.workers)

    async def close(self) -> None:
        for worker in self.workers:
            worker.stop()
        for store in (self.ports.sources, self.ports.results):
            await store.delete_prefix("jobs/")
        await close_ports(self.ports)
