"""Jobs, their fences, and what workers report."""

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
    """Which jobs to list: all conditions must hold; None and empty mean any.

    Times compare `created_at_utc`: from inclusive, until exclusive.
    """

    states: tuple[JobState, ...] = ()
    camera: str | None = None
    created_from_utc: datetime | None = None
    created_until_utc: datetime | None = None
    owner: str | None = None


class WorkerDetail(TypedDict, total=False):
    """Further facts of a worker's report."""

    host: str
    pid: int
    problems: list[WorkerProblem]


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker says of itself with its heartbeat: the API knows no GPU."""

    worker_id: str
    at_utc: datetime
    device: str
    gpu_available: bool
    models_loaded: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    detail: WorkerDetail = field(default_factory=WorkerDetail)


@dataclass(frozen=True, slots=True)
class JobOutline:
    """As much of a job as tells which of its blobs are of use. Fields as in `Job`."""

    state: JobState
    attempt: int
    result_revision: str | None
    updated_at_utc: datetime

    @property
    def is_terminal(self) -> bool:
        """Whether the present attempt has ended."""
        return self.state in TERMINAL


@dataclass(frozen=True, slots=True)
class JobTurn:
    """As much of an active job as tells what is its owner's turn. Fields as in `Job`.

    Attributes:
        waiting: Code of what it waits for, if for anything.
        handed_out: Segments that were handed out and are not done.
        has_more: It is detecting, and has segments that were not handed out.
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
        """Whether it is worked on: past `queued`, and not parked before a later step."""
        return self.state != "queued" and self.waiting != "turn"

    @property
    def is_counting(self) -> bool:
        """Whether it is worked on and past detection."""
        return self.state in ("assembling", "rendering") and self.waiting != "turn"

    @property
    def is_asked_for(self) -> bool:
        """Whether it is queued with a message on its way."""
        return self.state == "queued" and self.waiting is None


class JobStore(Port):
    """Jobs and their fences.

    Every change is one atomic update; changed jobs are returned as they are after the change.
    """

    @abstractmethod
    async def add(self, job: Job) -> Job:
        """Insert a job. With an idempotency key that the same owner used before, insert nothing and
        return the job of then.

        Raises:
            Conflict: The id exists (code `job_exists`).
        """

    @abstractmethod
    async def get(self, job_id: str, *, owner: str | None = None) -> Job:
        """Read a job, or, with an owner, one of theirs: another owner's is looked for, and missing,
        like one that is not there.

        Raises:
            NotFound: There is none (code `job_not_found`).
        """

    @abstractmethod
    async def count_active(self, owner: str) -> int:
        """Return how many jobs of an owner have not ended."""

    @abstractmethod
    async def find_by_key(self, owner: str, idempotency_key: str) -> Job | None:
        """Return the job that this owner submitted with this idempotency key, if any."""

    @abstractmethod
    async def list_page(
        self, where: JobFilter, *, limit: int, cursor: str | None = None
    ) -> Page[Job]:
        """List jobs, newest first (by `created_at_utc`, then id, both descending), `limit` (1 to
        200) a page.

        Raises:
            MalformedRequest: The cursor is not one of ours (code `bad_cursor`).
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
            FenceLost: Attempt or state differ; `details` has `state` and `attempt` as they are.
            NotFound: There is no such job.
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
        """Start the next attempt of a job whose present one has ended: attempt + 1, `state`, new
        settings; no error, failures, waiting.

        Plan, done segments, the published revision and what has expired stay; `expired_at_utc`
        becomes null, because there will be results to look at again.

        Raises:
            FenceLost: The job is still active, or its attempt is not `expected_attempt`.
            NotFound: There is no such job.
        """

    @abstractmethod
    async def mark_segment_done(
        self, job_id: str, *, attempt: int, segment: int, at: datetime
    ) -> Job:
        """Add a segment to the job's done set (a set: repeating is harmless).

        Raises as `update` does, for any active state.
        """

    @abstractmethod
    async def turns(self, owner: str) -> list[JobTurn]:
        """Return an owner's active jobs, oldest first (by `created_at_utc`, then id)."""

    @abstractmethod
    async def hand_out(self, job_id: str, *, attempt: int, most: int) -> list[int]:
        """Hand out the next segments of a job that are not done, at most so many, in one atomic
        step. No segment is handed out twice.

        Nothing is handed out where `sent_until` is null.

        Raises:
            FenceLost: The attempt differs, or the job is not `detecting`.
            NotFound: There is no such job.
        """

    @abstractmethod
    async def touch(
        self, job_id: str, *, attempt: int, at: datetime, rendered_frames: int | None = None
    ) -> Job:
        """Record a heartbeat, and progress of rendering; return the job, so that a cancel is seen.

        Raises:
            FenceLost: The attempt differs; the state may be any.
            NotFound: There is no such job.
        """

    @abstractmethod
    async def step_started(self, job_id: str, *, attempt: int, step_key: str, at: datetime) -> int:
        """Count a start of a step that has not ended yet; return how many such starts there are,
        this one included. Raises as `touch`.
        """

    @abstractmethod
    async def step_ended(
        self, job_id: str, *, attempt: int, step_key: str, failed: bool, at: datetime
    ) -> int:
        """Forget a step's starts; count a failure if `failed`, else forget its failures; return the
        failures now. Raises as `touch`.
        """

    @abstractmethod
    async def step_released(
        self, job_id: str, *, attempt: int, step_key: str, at: datetime
    ) -> None:
        """Take back one start of a step, which ended for a reason that is not the step's: an
        outage, a shutdown. Failures stay.

        Where there is no start, nothing is taken back. Raises as `touch`.
        """

    @abstractmethod
    async def stalled(self, *, heartbeat_before: datetime, limit: int) -> list[Job]:
        """Return active jobs without a heartbeat since then, those waiting longest first."""

    @abstractmethod
    async def outlines(self, job_ids: Collection[str]) -> dict[str, JobOutline]:
        """Return the outlines of those of the jobs that there are, by id."""

    @abstractmethod
    async def unexpired(self, *, created_before: datetime, limit: int) -> list[Job]:
        """Return ended jobs from before that time whose `expired_at_utc` is null, oldest first."""

    @abstractmethod
    async def count_unexpired(self, *, created_before: datetime | None = None) -> int:
        """Return how many ended jobs have a null `expired_at_utc`: all of them, or those from
        before that time.
        """

    @abstractmethod
    async def delete(self, job_id: str) -> bool:
        """Delete a job's record; return whether there was one. Idempotent."""

    @abstractmethod
    async def report_worker(self, report: WorkerReport) -> None:
        """Record a worker's heartbeat, in place of its last one."""

    @abstractmethod
    async def workers(self, *, since: datetime) -> list[WorkerReport]:
        """Return the workers that reported since then, by id."""
