"""Azurite, a database and workers of one chaos run, and what becomes of its jobs."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from core.bootstrap import make_ports
from core.domain.blobs import result_blob, results_prefix, source_blob
from core.domain.clock import utc_now
from core.domain.job import Job, SourceFile, new_job_id
from core.domain.message import JobMessage, Step
from core.domain.results import Figures
from core.ports import StatsFilter
from core.services.attempts.dispatch import Dispatcher
from infra.azurite_server import AzuriteServer
from tests.chaos.recordings import SEGMENT_FRAMES, Recording
from tests.conftest import REPOSITORY
from tests.support.configuration import ports_config
from tests.support.networks import share_networks

VISIBILITY_S = 3
MAX_DEATHS = 1000
POLL_S = 0.1
PAUSES = {"probe": 0.1, "detect_segment": 0.2, "assemble": 0.2, "render": 0.3}
"""Seconds that the functions of an engine take that only pretends."""
PATIENCE_AT_END_S = 15.0
Files = dict[str, bytes]


@dataclass
class Results:
    """What a reader finds of one job: its files but run.json, and whether its statistics say the
    same.
    """

    state: str
    reason: str = ""
    files: Files = field(default_factory=dict)
    complete: bool = False


class Nursery:
    """Starts workers in milliseconds, with the engine of the name; see `tests.chaos.nursery`."""

    def __init__(self, env: dict[str, str], folder: Path, engine: str) -> None:
        self._folder = folder
        self._number = 0
        argv = [sys.executable, "-m", "tests.chaos.nursery", engine]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, cwd=REPOSITORY, text=True
        )
        self._answer()

    def start(self) -> Worker:
        """Fork one more worker."""
        log_path = self._folder / f"worker{self._number:04d}.log"
        self._number += 1
        assert self._process.stdin is not None
        self._process.stdin.write(f"{log_path}\n")
        self._process.stdin.flush()
        return Worker(int(self._answer()), log_path)

    def close(self) -> None:
        """End the nursery; its workers live on."""
        assert self._process.stdin is not None and self._process.stdout is not None
        # It has nothing to save, and on a busy machine it takes its time to end by itself.
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the nursery of workers ended with status {self._process.wait(10)}")
        return line.strip()


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process."""

    pid: int
    log_path: Path

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return Path(f"/proc/{self.pid}").exists()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def lines(self) -> list[dict[str, object]]:
        """Return its whole log lines."""
        if not self.log_path.exists():
            return []
        text = self.log_path.read_text(errors="replace")
        return [
            json.loads(line)
            for line in text.splitlines()
            if line.startswith("{") and line.endswith("}")
        ]

    def steps_under_way(self) -> list[str]:
        """Return which steps it had begun and not ended, such as `detect:3`."""
        open_steps: Counter[tuple[object, object]] = Counter()
        for line in self.lines():
            key = (line.get("job_id"), line.get("step"))
            open_steps[key] += {"chaos_step_begun": 1, "chaos_step_ended": -1}.get(
                str(line.get("action")), 0
            )
        return [str(step) for (_, step), number in open_steps.items() if number > 0]


class Arena:
    """Containers, queues and a database of one run."""

    def __init__(self, azurite: AzuriteServer, folder: Path, *, mongo_uri: str | None) -> None:
        share_networks(folder / "data")
        self.env = {
            **os.environ,
            "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string,
            "MUSTER_DATA_DIR": str(folder / "data"),
            "MUSTER_VISIBILITY_S": str(VISIBILITY_S),
            "MUSTER_MAX_DEATHS": str(MAX_DEATHS),
            "MUSTER_SEGMENT_FRAMES": str(SEGMENT_FRAMES),
            "MUSTER_DEVICE": "openvino",
            "MUSTER_TEST_PAUSES": json.dumps(PAUSES),
        } | ({"MONGO_URI": mongo_uri} if mongo_uri else {})
        self.env.pop("MONGO_DETAILS", None)
        config = ports_config(
            storage_connection=azurite.connection_string,
            data_dir=folder / "data",
            mongo_uri=mongo_uri,
            mongo_database="muster",
        )
        self.ports = make_ports(config)
        self._dispatcher = Dispatcher(self.ports)

    async def submit(self, recording: Recording) -> str:
        """Submit a recording; return the job's id."""
        job_id, now = new_job_id(), utc_now()
        info = await self.ports.sources.put_file(source_blob(job_id, 0), recording.video)
        source = SourceFile(
            name=recording.name, blob=info.name, size_bytes=info.size_bytes, etag=info.etag
        )
        times = {"created_at_utc": now, "updated_at_utc": now, "heartbeat_at_utc": now}
        await self.ports.jobs.add(
            Job(id=job_id, settings=recording.settings, files=(source,), **times)
        )
        await self._dispatcher.send(JobMessage(job_id=job_id, attempt=1, step="plan"))
        return job_id

    async def repeat(self, job: Job, step: Step, chance: random.Random) -> None:
        """Send a message of a job's step once more, as an SDK does that got no answer; of several
        segments, any one's.
        """
        segment = (
            chance.randrange(len(job.plan.segments))
            if step == "detect" and job.plan is not None
            else None
        )
        await self._dispatcher.send(
            JobMessage(job_id=job.id, attempt=job.attempt, step=step, segment=segment)
        )

    async def etags(self, job: Job) -> dict[str, str]:
        """Return the ETags of a job's published files by their names."""
        prefix = result_blob(job.id, str(job.result_revision), "")
        return {
            blob.name.removeprefix(prefix): blob.etag
            async for blob in self.ports.results.list_blobs(prefix)
        }

    async def wait_until_done(self, job_ids: list[str], *, timeout_s: float) -> bool:
        """Wait until all jobs have ended and no message is left; return whether that was so in
        time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not await self._all_done(job_ids):  # noqa: ASYNC110  other processes are waited for
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            return False
        return True

    async def _all_done(self, job_ids: list[str]) -> bool:
        ended = [(await self.ports.jobs.get(job_id)).is_terminal for job_id in job_ids]
        return all(ended) and not any(
            [
                (await queue.depth()).messages
                for queue in (self.ports.queue, self.ports.detect_queue)
            ]
        )

    async def results(self, job_id: str) -> Results:
        """Return what a reader finds of a job."""
        job = await self.ports.jobs.get(job_id)
        if job.state != "completed" or job.result_revision is None:
            return Results(job.state, job.error.message if job.error else "")
        files = {}
        for name in job.artifacts:
            if name != "run.json":
                files[name] = await self.ports.results.get(
                    result_blob(job_id, job.result_revision, name)
                )
        statistics = await self.ports.stats.get(job_id)
        published = Figures.model_validate_json(files["results.json"]).counts
        same = (
            statistics is not None
            and statistics.revision == job.result_revision
            and published == job.counts
        )
        return Results(
            job.state,
            "" if same else "its statistics are missing or tell something else",
            files,
            complete=same,
        )

    async def statistics_of(self, job_ids: list[str]) -> Counter[str]:
        """Return how many records of statistics there are of each job."""
        found: Counter[str] = Counter(dict.fromkeys(job_ids, 0))
        async for record in self.ports.stats.stream(StatsFilter()):
            found[record.job_id] += 1
        return found

    async def jobs_in_time_series(self) -> int:
        """Return how many jobs the time series adds up."""
        buckets = await self.ports.stats.timeseries(
            StatsFilter(), muster_class="cattle", bucket="day"
        )
        return sum(bucket.jobs for bucket in buckets)

    async def revisions_left(self, job_ids: list[str]) -> int:
        """Return how many revisions lie about that nobody has published."""
        left = 0
        for job_id in job_ids:
            published = (await self.ports.jobs.get(job_id)).result_revision
            prefix = results_prefix(job_id)
            names = {
                blob.name.removeprefix(prefix).partition("/")[0]
                async for blob in self.ports.results.list_blobs(prefix)
            }
            left += len(names - {published})
        return left


async def come_to_rest(workers: list[Worker]) -> None:
    """Wait until no living worker is at a step, such as one that slept through the end of its job."""
    deadline = time.monotonic() + PATIENCE_AT_END_S
    while (  # noqa: ASYNC110  as above
        any(worker.alive and worker.steps_under_way() for worker in workers)
        and time.monotonic() < deadline
    ):
        await asyncio.sleep(POLL_S)


async def end(workers: list[Worker]) -> None:
    """End workers in order, and those that do not end without."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for worker in workers:
            if worker.alive:
                worker.signal(number)
        deadline = time.monotonic() + PATIENCE_AT_END_S
        while any(worker.alive for worker in workers) and time.monotonic() < deadline:  # noqa: ASYNC110  as above
            await asyncio.sleep(POLL_S)


def left_behind(workers: list[Worker]) -> int:
    """Return how many processes that dead workers had started still run."""
    sessions = {str(worker.pid) for worker in workers}
    found = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found += fields[3] in sessions and fields[0] != "Z"
    return found
