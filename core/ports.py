"""What the outside must do for Muster: promises, not how they are kept.

All ports are async. One event-loop thread drives them: the API awaits them, a worker drives them from its one loop, lease renewal
included, while the engine works in other threads. None of them is safe to call from a second thread or a second loop. No call blocks the
loop. Every port raises `core.errors` only: `Unavailable` when the service does not answer, whatever else each method names.
Every adapter has `open()` (creates containers, queues, tables, indexes; idempotent) and `close()` (idempotent).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from core.domain.analysis import AnalysisSettings
from core.domain.job import Job, JobState
from core.domain.statistics import JobStatistics, TimeBucket

T = TypeVar("T")
Bucket = Literal["hour", "day", "week", "month"]


class Port(ABC):
    """What all ports have in common."""

    @abstractmethod
    async def open(self) -> None:
        """Create what must exist. Idempotent; may be called by several processes at once."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections. Idempotent."""

    @abstractmethod
    async def ping(self) -> None:
        """Return when the service answers.

        Raises:
            Unavailable: It does not.
        """


# ---------------------------------------------------------------- blobs


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A blob as it is now. `etag` changes with every write and is compared as an opaque string, without quotes."""

    name: str
    size_bytes: int
    etag: str
    content_type: str
    modified_at_utc: datetime


class BlobStore(Port):
    """Named byte strings in one container. Writes are atomic: a reader sees a whole blob or none."""

    @abstractmethod
    async def put(self, name: str, data: bytes, *, content_type: str = "application/octet-stream", only_new: bool = False) -> BlobInfo:
        """Write a blob from memory. Idempotent.

        Raises:
            PreconditionFailed: `only_new` and the blob exists.
        """

    @abstractmethod
    async def put_stream(
        self, name: str, chunks: AsyncIterator[bytes], *, content_type: str = "application/octet-stream", only_new: bool = False
    ) -> BlobInfo:
        """Write a blob from a stream of any chunk sizes, as staged blocks, several at once; it appears when the last one is committed.

        Memory stays within a few blocks of 4 MiB. If `chunks` raises, nothing is committed and the exception passes through.

        Raises:
            PreconditionFailed: `only_new` and the blob exists.
        """

    @abstractmethod
    async def put_file(self, name: str, path: Path, *, content_type: str = "application/octet-stream") -> BlobInfo:
        """Write a blob from a local file. Idempotent."""

    @abstractmethod
    async def info(self, name: str) -> BlobInfo:
        """Describe a blob.

        Raises:
            NotFound: There is none (code `blob_not_found`).
        """

    @abstractmethod
    async def get(self, name: str, *, if_match: str | None = None) -> bytes:
        """Read a whole blob.

        Raises:
            NotFound: There is none.
            PreconditionFailed: Its ETag is not `if_match`.
        """

    @abstractmethod
    def stream(self, name: str, *, offset: int = 0, length: int | None = None, if_match: str | None = None) -> AsyncIterator[bytes]:
        """Read `length` bytes from `offset` on, in pieces of at most 4 MiB. The iterator raises as `get` does, at its first step."""

    @abstractmethod
    async def get_file(self, name: str, path: Path, *, if_match: str | None = None) -> None:
        """Read a blob into a local file, which appears when it is whole. Raises as `get` does, and `StorageFull`."""

    @abstractmethod
    async def copy(self, source: str, target: str, *, if_match: str | None = None) -> BlobInfo:
        """Copy within the container, on the server's side; returns when the copy is whole. Idempotent. Raises as `get` does."""

    @abstractmethod
    def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """Yield the blobs whose names begin with `prefix`, in order of name, uncommitted ones left out."""

    @abstractmethod
    async def delete(self, name: str) -> None:
        """Delete a blob; none being there is success. Idempotent."""

    @abstractmethod
    async def delete_prefix(self, prefix: str) -> int:
        """Delete all blobs whose names begin with `prefix`, which must not be empty; return how many. Idempotent."""

    @abstractmethod
    async def upload_url(self, name: str, *, valid_for: timedelta) -> str:
        """Return a URL with which anybody may create and write this one blob, and nothing else, for that long."""


# ---------------------------------------------------------------- queue


@dataclass(frozen=True, slots=True)
class Lease:
    """A received message that is ours until `visible_at_utc`. `receipt` is the newest pop receipt: the only valid one."""

    message_id: str
    receipt: str
    body: bytes
    delivery_count: int
    inserted_at_utc: datetime
    visible_at_utc: datetime


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Approximate number of messages in a queue, leased ones included."""

    messages: int


class JobQueue(Port):
    """At-least-once delivery. Messages never expire. The body goes through unchanged, byte for byte (UTF-8 text, at most 48 KiB)."""

    @abstractmethod
    async def send(self, body: bytes, *, delay: timedelta = timedelta(0)) -> None:
        """Add a message, visible after `delay`. Not idempotent: a lost response may mean two messages.

        Raises:
            InvalidInput: The body is over 48 KiB or not UTF-8 text.
        """

    @abstractmethod
    async def receive(self, *, visibility: timedelta) -> Lease | None:
        """Take one message out of sight for `visibility`, or return None at once."""

    @abstractmethod
    async def renew(self, lease: Lease, *, visibility: timedelta) -> Lease:
        """Stay the owner for `visibility` from now; the returned lease replaces the old one.

        Raises:
            LeaseLost: Somebody else has the message, or it is gone.
        """

    @abstractmethod
    async def complete(self, lease: Lease) -> None:
        """Delete the message. It being gone already is success.

        Raises:
            LeaseLost: Somebody else has the message.
        """

    @abstractmethod
    async def release(self, lease: Lease, *, delay: timedelta = timedelta(0)) -> None:
        """Give the message back, visible after `delay`.

        Raises:
            LeaseLost: Somebody else has the message, or it is gone.
        """

    @abstractmethod
    async def poison(self, lease: Lease, *, reason: str) -> None:
        """Copy the original body and the reason to `<queue>-poison`, then delete. A crash in between leaves both: nothing is lost.

        Raises:
            LeaseLost: Somebody else has the message.
        """

    @abstractmethod
    async def depth(self) -> QueueDepth:
        """Return the approximate number of messages."""


# ---------------------------------------------------------------- jobs


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a listing. `next_cursor` is opaque; None on the last page."""

    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list: all conditions must hold; None and empty mean any.

    Times compare `created_at_utc`: from inclusive, until exclusive.
    """

    states: tuple[JobState, ...] = ()
    camera: str | None = None
    created_from_utc: datetime | None = None
    created_until_utc: datetime | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker says of itself with its heartbeat: the API knows no GPU."""

    worker_id: str
    at_utc: datetime
    device: str
    gpu_available: bool
    models_loaded: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    detail: dict[str, Any] = field(default_factory=dict)


class JobStore(Port):
    """Jobs and their fences. Every change is one atomic update; changed jobs are returned as they are after the change."""

    @abstractmethod
    async def add(self, job: Job) -> Job:
        """Insert a job. With an idempotency key that the same owner used before, insert nothing and return the job of then.

        Raises:
            Conflict: The id exists (code `job_exists`).
        """

    @abstractmethod
    async def get(self, job_id: str) -> Job:
        """Read a job.

        Raises:
            NotFound: There is none (code `job_not_found`).
        """

    @abstractmethod
    async def find_by_key(self, owner: str, idempotency_key: str) -> Job | None:
        """Return the job that this owner submitted with this idempotency key, if any."""

    @abstractmethod
    async def list(self, where: JobFilter, *, limit: int, cursor: str | None = None) -> Page[Job]:
        """List jobs, newest first (by `created_at_utc`, then id, both descending), `limit` (1 to 200) a page.

        Raises:
            MalformedRequest: The cursor is not one of ours (code `bad_cursor`).
        """

    @abstractmethod
    async def update(self, job_id: str, *, attempt: int, expected: Iterable[JobState], at: datetime, changes: dict[str, Any]) -> Job:
        """Set fields of a job, if its attempt is `attempt` and its state one of `expected`.

        `changes` maps names of `Job` fields to new values (pydantic models or plain values). `updated_at_utc` and `heartbeat_at_utc`
        become `at`. Repeating a change is harmless.

        Raises:
            FenceLost: Attempt or state differ; `details` has `state` and `attempt` as they are.
            NotFound: There is no such job.
        """

    @abstractmethod
    async def begin_attempt(self, job_id: str, *, expected_attempt: int, settings: AnalysisSettings, state: JobState, at: datetime) -> Job:
        """Start the next attempt of a job whose present one has ended: attempt + 1, no error, no failures, `state`, new settings.

        Plan, done segments and the published revision stay.

        Raises:
            FenceLost: The job is still active, or its attempt is not `expected_attempt`.
            NotFound: There is no such job.
        """

    @abstractmethod
    async def mark_segment_done(self, job_id: str, *, attempt: int, segment: int, at: datetime) -> Job:
        """Add a segment to the job's done set (a set: repeating is harmless). Raises as `update` does, for any active state."""

    @abstractmethod
    async def touch(self, job_id: str, *, attempt: int, at: datetime, rendered_frames: int | None = None) -> Job:
        """Record a heartbeat, and progress of rendering; return the job, so that a cancel is seen.

        Raises:
            FenceLost: The attempt differs; the state may be any.
            NotFound: There is no such job.
        """

    @abstractmethod
    async def step_started(self, job_id: str, *, attempt: int, step_key: str, at: datetime) -> int:
        """Count a start of a step that has not ended yet; return how many such starts there are, this one included. Raises as `touch`."""

    @abstractmethod
    async def step_ended(self, job_id: str, *, attempt: int, step_key: str, failed: bool, at: datetime) -> int:
        """Forget a step's starts; count a failure if `failed`, else forget its failures; return the failures now. Raises as `touch`."""

    @abstractmethod
    async def stalled(self, *, heartbeat_before: datetime, limit: int) -> list[Job]:
        """Return active jobs without a heartbeat since then, those waiting longest first."""

    @abstractmethod
    async def delete(self, job_id: str) -> bool:
        """Delete a job's record; return whether there was one. Idempotent."""

    @abstractmethod
    async def report_worker(self, report: WorkerReport) -> None:
        """Record a worker's heartbeat, in place of its last one."""

    @abstractmethod
    async def workers(self, *, since: datetime) -> list[WorkerReport]:
        """Return the workers that reported since then, by id."""


# ---------------------------------------------------------------- statistics


@dataclass(frozen=True, slots=True)
class StatsFilter:
    """Which statistics: all conditions must hold; None means any. Times compare `timestamp_utc`: from inclusive, until exclusive."""

    muster_class: str | None = None
    camera: str | None = None
    from_utc: datetime | None = None
    until_utc: datetime | None = None
    owner: str | None = None


class StatsStore(Port):
    """Statistics, one record a job: writing the same record again changes nothing."""

    @abstractmethod
    async def put(self, record: JobStatistics) -> None:
        """Write the statistics of a job, in place of those of an earlier or the same attempt; a record of an older attempt is ignored."""

    @abstractmethod
    async def get(self, job_id: str) -> JobStatistics | None:
        """Return a job's record, if any."""

    @abstractmethod
    async def latest(self, where: StatsFilter) -> JobStatistics | None:
        """Return the record with the newest `timestamp_utc` (then the greatest job id), if any."""

    @abstractmethod
    async def list(self, where: StatsFilter, *, limit: int, cursor: str | None = None) -> Page[JobStatistics]:
        """List records, newest first (by `timestamp_utc`, then job id, both descending), `limit` (1 to 200) a page.

        Raises:
            MalformedRequest: The cursor is not one of ours (code `bad_cursor`).
        """

    @abstractmethod
    def stream(self, where: StatsFilter) -> AsyncIterator[JobStatistics]:
        """Yield all records, newest first, in batches from the server: memory stays flat whatever their number."""

    @abstractmethod
    async def timeseries(self, where: StatsFilter, *, muster_class: str, bucket: Bucket) -> list[TimeBucket]:
        """Return non-empty buckets of one class, oldest first; weeks begin on Monday; all in UTC."""

    @abstractmethod
    async def delete(self, job_id: str) -> None:
        """Delete a job's record; none being there is success. Idempotent."""


@dataclass(frozen=True, slots=True)
class Ports:
    """All ports of one process. `sources` is the input container, `results` the output container."""

    sources: BlobStore
    results: BlobStore
    queue: JobQueue
    detect_queue: JobQueue
    jobs: JobStore
    stats: StatsStore

    def all(self) -> tuple[Port, ...]:
        """Return every port."""
        return (self.sources, self.results, self.queue, self.detect_queue, self.jobs, self.stats)
