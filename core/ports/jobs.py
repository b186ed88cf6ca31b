"""The port of jobs, their fences, and the workers' reports."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

from core.domain.analysis import AnalysisSettings
from core.domain.job import TERMINAL, Job, JobState
from core.domain.worker_problem import WorkerProblem
from core.ports.base import Page, Port


@dataclass(frozen=True, slots=True)
class JobFilter:
    """The conditions of a listing of jobs. All must hold; None and empty mean any.

    Times compare `created_at_utc`: from inclusive, until exclusive.
    """

    states: tuple[JobState, ...] = ()
    camera: str | None = None
    created_from_utc: datetime | None = None
    created_until_utc: datetime | None = None
    owner: str | None = None


class WorkerDetail(TypedDict, total=False):
    """Further details of a worker's report."""

    host: str
    pid: int
    problems: list[WorkerProblem]


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """A worker's report about itself, sent with its heartbeat. The API itself sees no GPU."""

    worker_id: str
    at_utc: datetime
    device: str
    gpu_available: bool
    models_loaded: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    detail: WorkerDetail = field(default_factory=WorkerDetail)


@dataclass(frozen=True, slots=True)
class JobOutline:
    """The part of a job that determines which of its blobs are needed. Fields as in `Job`."""

    state: JobState
    attempt: int
    result_revision: str | None
    updated_at_utc: datetime

    @property
    def is_terminal(self) -> bool:
        """Whether the current attempt has ended."""
        return self.state in TERMINAL


@dataclass(frozen=True, slots=True)
class JobTurn:
    """The part of an active job that determines what is its owner's turn. Fields as in `Job`.

    Attributes:
        waiting: Code of the reason for which it waits; None if it does not wait.
        handed_out: Segments that were sent to workers and are not done.
        has_more: Whether it is detecting, and has segments that were not sent yet.
    """

    id: str
    state: JobState
    attempt: int
    waiting: str | None = None
    handed_out: int = 0
    has_more: bool = False
    traceparent: str | None = None

    @property
    def is_begun(self) -> bool:
        """Whether it is being processed: past `queued`, and not parked before a later step."""
        return self.state != "queued" and self.waiting != "turn"

    @property
    def is_counting(self) -> bool:
        """Whether it is being processed and past detection."""
        return self.state in ("assembling", "rendering") and self.waiting != "turn"

    @property
    def is_asked_for(self) -> bool:
        """Whether it is queued and its message has been sent."""
        return self.state == "queued" and self.waiting is None


class JobStore(Port):
    """Jobs and their fences.

    Every change is one atomic update. Changed jobs are returned in their state after the change.
    """

    @abstractmethod
    async def add(self, job: Job) -> Job:
        """Insert a job, unless the same owner used its idempotency key before.

        In that case the earlier job is returned.

        Raises:
            Conflict: The id exists (code `job_exists`).
        """

    @abstractmethod
    async def get(self, job_id: str, *, owner: str | None = None) -> Job:
        """Read a job; with an owner, only a job of this owner.

        The job of another owner is looked up, and reported missing, like one that does not exist.

        Raises:
            NotFound: The job does not exist (code `job_not_found`).
        """

    @abstractmethod
    async def count_active(self, owner: str) -> int:
        """Return the number of an owner's jobs that have not ended."""

    @abstractmethod
    async def find_by_key(self, owner: str, idempotency_key: str) -> Job | None:
        """Return the job that this owner submitted with this idempotency key, if any."""

    @abstractmethod
    async def list_page(
        self, where: JobFilter, *, limit: int, cursor: str | None = None
    ) -> Page[Job]:
        """List jobs, newest first, `limit` (1 to 200) per page.

        The order is by `created_at_utc`, then id, both descending.

        Raises:
            MalformedRequest: The cursor is not from this listing (code `bad_cursor`).
        """

    @abstractmethod
    async def update(
        self,
        job_id: str,
        *,
        attempt: int,
        expected: Iterable[JobState],
        at: datetime,
        changes: Mapping[str, object],
    ) -> Job:
        """Set fields of a job, if its attempt is `attempt` and its state one of `expected`.

        `changes` maps names of `Job` fields to new values (pydantic models or plain values).
        `updated_at_utc` and `heartbeat_at_utc` become `at`; with a terminal state, `waiting`
        becomes null. Repeating a change is harmless.

        Raises:
            FenceLost: Attempt or state differ; `details` has the current `state` and `attempt`.
            NotFound: The job does not exist.
        """

    @abstractmethod
    async def begin_attempt(
        self,
        job_id: str,
        *,
        expected_attempt: int,
        settings: AnalysisSettings,
        state: JobState,
        at: datetime,
    ) -> Job:
        """Start the next attempt of a job whose current one has ended.

        The attempt is incremented, and `state` and `settings` are set. Error, failures and waiting
        are cleared. Plan, done segments, the published revision and `expired` remain.
        `expired_at_utc` becomes null, because retention must examine the new results.

        Raises:
            FenceLost: The job is still active, or its attempt is not `expected_attempt`.
            NotFound: The job does not exist.
        """

    @abstractmethod
    async def mark_segment_done(
        self, job_id: str, *, attempt: int, segment: int, at: datetime
    ) -> Job:
        """Add a segment to the job's set of done segments. Repeating is harmless.

        Raises as `update` does, for any active state.
        """

    @abstractmethod
    async def turns(self, owner: str) -> list[JobTurn]:
        """Return an owner's active jobs, oldest first (by `created_at_utc`, then id)."""

    @abstractmethod
    async def hand_out(self, job_id: str, *, attempt: int, most: int) -> list[int]:
        """Assign the next segments of a job that are not done, at most `most`, in one atomic step.

        No segment is assigned twice. Nothing is assigned where `sent_until` is null.

        Raises:
            FenceLost: The attempt differs, or the job is not `detecting`.
            NotFound: The job does not exist.
        """

    @abstractmethod
    async def touch(
        self, job_id: str, *, attempt: int, at: datetime, rendered_frames: int | None = None
    ) -> Job:
        """Record a heartbeat, and the progress of rendering.

        The job is returned so that the caller notices a cancellation.

        Raises:
            FenceLost: The attempt differs; the state may be any.
            NotFound: The job does not exist.
        """

    @abstractmethod
    async def step_started(self, job_id: str, *, attempt: int, step_key: str, at: datetime) -> int:
        """Count a start of a step; return the number of starts that have not ended, including this.

        Raises as `touch`.
        """

    @abstractmethod
    async def step_ended(
        self, job_id: str, *, attempt: int, step_key: str, failed: bool, at: datetime
    ) -> int:
        """Clear a step's starts; return the number of its failures.

        With `failed`, the failures are incremented, otherwise they are cleared. Raises as `touch`.
        """

    @abstractmethod
    async def step_released(
        self, job_id: str, *, attempt: int, step_key: str, at: datetime
    ) -> None:
        """Subtract one start of a step that ended for an external reason: an outage, a shutdown.

        Failures remain. Without a start, nothing is subtracted. Raises as `touch`.
        """

    @abstractmethod
    async def stalled(self, *, heartbeat_before: datetime, limit: int) -> list[Job]:
        """Return active jobs without a heartbeat since then, those silent for longest first."""

    @abstractmethod
    async def outlines(self, job_ids: Collection[str]) -> dict[str, JobOutline]:
        """Return the outlines of the jobs that exist, by id."""

    @abstractmethod
    async def unexpired(self, *, created_before: datetime, limit: int) -> list[Job]:
        """Return older ended jobs whose `expired_at_utc` is null, oldest first."""

    @abstractmethod
    async def count_unexpired(self, *, created_before: datetime | None = None) -> int:
        """Return the number of ended jobs whose `expired_at_utc` is null.

        `created_before` limits the jobs to those created before that time.
        """

    @abstractmethod
    async def delete(self, job_id: str) -> bool:
        """Delete a job's record; return whether it existed. Idempotent."""

    @abstractmethod
    async def report_worker(self, report: WorkerReport) -> None:
        """Record a worker's heartbeat; it replaces the last one."""

    @abstractmethod
    async def workers(self, *, since: datetime) -> list[WorkerReport]:
        """Return the workers that reported since then, by id."""
