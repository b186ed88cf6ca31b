"""The worker's stand of the unit tests on real Azurite and an SQLite file, with the real time: only
the engine pretends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from azure.storage.queue.aio import QueueClient

from core.bootstrap import close_ports, make_ports, open_ports
from core.domain.blobs import result_blob
from core.domain.job import Job
from core.ports import Ports
from core.services.attempts.dispatch import Dispatcher
from infra.processes import Child
from tests.conftest import REPOSITORY
from tests.support.configuration import ports_config
from tests.support.quick_worker import SEGMENT_FRAMES
from tests.support.worker_stand import WorkerStand
from worker.consumer import Consumer
from worker.main import queues_of
from worker.processor import Processor
from worker.timing import Timer

API_VERSION = "2025-11-05"


class AzuriteStand(WorkerStand):
    """Containers, queues and a database of the test's own.

    Args:
        base: For the database and the workers' caches.
        connection_string: Of Azurite.
        name: Makes unique names.
        visibility_s: Whole seconds.
    """

    def __init__(
        self,
        base: Path,
        connection_string: str,
        name: Callable[[str], str],
        *,
        visibility_s: int = 2,
    ) -> None:
        super().__init__(base)
        self.timer = Timer()
        self.visibility_s = visibility_s
        self.config = ports_config(
            storage_connection=connection_string,
            input_container=name("raw"),
            output_container=name("out"),
            queue_name=name("jobs"),
            data_dir=base / "data",
        )
        # This stand is on real storage.
        self.ports = make_ports(self.config)  # type: ignore[assignment]
        self.dispatcher = Dispatcher(self.ports)

    @asynccontextmanager
    async def reaching_azurite_by(self, connection_string: str) -> AsyncIterator[Ports]:
        """Open ports of the same containers, queues and database that reach Azurite another way."""
        update = {"storage_connection": connection_string}
        storage = self.config.storage.model_copy(update=update)
        ports = make_ports(replace(self.config, storage=storage))
        try:
            await open_ports(ports)
            yield ports
        finally:
            await close_ports(ports)

    @asynccontextmanager
    async def consuming(
        self, *workers: Processor, ports: Ports | None = None, grace_s: float = 0
    ) -> AsyncIterator[list[Consumer]]:
        """Let workers take messages from both queues while the context lasts."""
        queues = queues_of(ports or self.ports, "all")
        visibility = timedelta(seconds=self.visibility_s)
        consumers = [
            Consumer(queues, worker, visibility=visibility, grace_s=grace_s, timer=self.timer)
            for worker in workers
        ]
        running = [asyncio.create_task(consumer.run()) for consumer in consumers]
        try:
            yield consumers
        finally:
            for consumer in consumers:
                consumer.stop()
            await asyncio.gather(*running)

    def start_worker(
        self, folder: Path, pauses: dict[str, float], *, name: str = "worker", **settings: str
    ) -> Child:
        """Start a worker process whose engine takes its time; see `tests.support.quick_worker`.

        Args:
            folder: For its log.
            pauses: Seconds by function of the engine.
            name: What it is called.
            settings: Environment variables of its own.
        """
        env = {
            **os.environ,
            "AZURE_STORAGE_CONNECTION_STRING": self.config.storage.storage_connection,
            "BLOB_CONTAINER_INPUT": self.config.storage.input_container,
            "BLOB_CONTAINER_OUTPUT": self.config.storage.output_container,
            "QUEUE_NAME": self.config.queues.queue_name,
            "MUSTER_DATA_DIR": str(self.config.storage.data_dir),
            "MUSTER_VISIBILITY_S": str(self.visibility_s),
            "MUSTER_SEGMENT_FRAMES": str(SEGMENT_FRAMES),
            "MUSTER_TEST_PAUSES": json.dumps(pauses),
            **settings,
        }
        child = Child(
            name,
            [sys.executable, "-m", "tests.support.quick_worker"],
            run_dir=folder,
            env=env,
            cwd=REPOSITORY,
        )
        child.start()
        return child

    async def wait(
        self,
        until: Callable[[Job], bool] = lambda job: job.is_terminal,
        *,
        job_id: str = "job1",
        timeout_s: float = 120,
    ) -> Job:
        """Wait until a job is as wanted."""
        async with asyncio.timeout(timeout_s):
            while not until(job := await self.job(job_id)):  # noqa: ASYNC110  a store is waited for
                await asyncio.sleep(0.05)
        return job

    async def settled(self, *, timeout_s: float = 120) -> None:
        """Wait until no message is left in either queue."""
        async with asyncio.timeout(timeout_s):
            while any(  # noqa: ASYNC110  as above
                [
                    (await queue.depth()).messages
                    for queue in (self.ports.queue, self.ports.detect_queue)
                ]
            ):
                await asyncio.sleep(0.05)

    async def poisoned(self, *, detect: bool = False) -> list[dict[str, Any]]:
        """Return what lies in a poison queue."""
        name = f"{self.config.queues.detect_queue_name if detect else self.config.queues.queue_name}-poison"
        async with QueueClient.from_connection_string(
            self.config.storage.storage_connection, name, api_version=API_VERSION
        ) as client:
            return [
                json.loads(message.content)
                for message in await client.peek_messages(max_messages=32)
            ]

    async def seen_by_readers(self, job_id: str = "job1") -> dict[str, Any]:
        """Return what readers see of a job: its record, its statistics, its published blobs with
        their ETags.
        """
        job = await self.job(job_id)
        prefix = result_blob(job_id, str(job.result_revision), "")
        record = job.model_dump(exclude={"heartbeat_at_utc", "step_starts", "step_failures"})
        blobs = {blob.name: blob.etag async for blob in self.ports.results.list_blobs(prefix)}
        return {"job": record, "statistics": await self.ports.stats.get(job_id), "blobs": blobs}

    async def assert_one_result(self, job_id: str = "job1") -> None:
        """The job is completed, its statistics say the same, and its attempt has one revision with
        every file that it names.
        """
        job = await self.job(job_id)
        assert job.state == "completed" and job.error is None, job
        statistics = await self.ports.stats.get(job_id)
        assert statistics is not None and (statistics.attempt, statistics.revision) == (
            job.attempt,
            job.result_revision,
        )
        names = [
            blob.name.split("/")[3:]
            async for blob in self.ports.results.list_blobs(
                f"jobs/{job_id}/results/r{job.attempt:04d}"
            )
        ]
        assert {revision for revision, _ in names} == {job.result_revision}
        assert {name for _, name in names} == set(job.artifacts)


@asynccontextmanager
async def azurite_stand(
    base: Path, connection_string: str, name: Callable[[str], str], **options: Any
) -> AsyncIterator[AzuriteStand]:
    """Open a stand; delete its blobs and close it in the end."""
    stand = AzuriteStand(base, connection_string, name, **options)
    await open_ports(stand.ports)
    try:
        yield stand
    finally:
        for store in (stand.ports.sources, stand.ports.results):
            await store.delete_prefix("jobs/")
        await close_ports(stand.ports)
        stand.close()
