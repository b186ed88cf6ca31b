"""A job: one request to analyse one recording, and everything the store remembers about it."""

from __future__ import annotations

import uuid
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from core.domain.analysis import AnalysisSettings
from core.domain.clock import UtcDatetime
from core.domain.results import Counts

JobState = Literal[
    "queued", "planning", "detecting", "assembling", "rendering", "completed", "failed", "cancelled"
]
ACTIVE: tuple[JobState, ...] = ("queued", "planning", "detecting", "assembling", "rendering")
TERMINAL: tuple[JobState, ...] = ("completed", "failed", "cancelled")
Expirable = Literal["sources", "results"]


class _Record(BaseModel):
    # Beside a newer release, and after it, its fields are passed over: stores change named fields
    # only, so none gets lost.
    model_config = ConfigDict(frozen=True, extra="ignore")


def new_job_id() -> str:
    """Return an id that no other job has: 32 hexadecimal digits."""
    return uuid.uuid4().hex


class TelemetryRemark(_Record):
    """Something that a person should know of telemetry: a code for programs, a sentence for people."""

    code: str
    message: str


class TelemetryFile(_Record):
    """What a drone wrote down while it filmed a file: an `.SRT` that was sent beside it, or the
    subtitle track within it.

    Attributes:
        source: Where it came from.
        name: What the user called the file; shown, never used as a path.
        blob: Where it lies as an `.SRT`, in the input container; null where the track cannot be
            used, and `warnings` say why.
        etag: Pins the content of the blob.
        dialect: Which of the drones' ways of writing it is; `core.telemetry` lists them.
        samples: How many records it has.
    """

    source: Literal["uploaded", "embedded"]
    name: str
    blob: str | None = None
    size_bytes: int = Field(0, ge=0)
    etag: str | None = None
    dialect: str | None = None
    samples: int = Field(0, ge=0)
    has_position: bool = False
    has_attitude: bool = False
    warnings: tuple[TelemetryRemark, ...] = ()


class SourceFile(_Record):
    """One video file of the recording, as it lies in blob storage.

    `name` is what the user called it: shown, never used as a path. `etag` pins the content: reads
    carry `If-Match`.
    """

    name: str
    blob: str
    size_bytes: int = Field(ge=0)
    etag: str
    telemetry: TelemetryFile | None = None


class VideoFacts(_Record):
    """What planning found out about the recording; sizes are those of the picture as displayed,
    after rotation.
    """

    frames: int = Field(ge=1)
    fps: float
    width_px: int
    height_px: int
    duration_s: float


class Segment(_Record):
    """A contiguous run of frames of one file, from a keyframe on: the unit of detection, checkpoint
    and parallelism.

    Attributes:
        index: Position among all segments of the job, from 0.
        file_index: Which of the job's files.
        first_frame: Index of the first frame over all files, in presentation order, discard packets
            left out.
        frames: How many frames.
        file_first_frame: Index of the first frame within its file.
        seek_pts: Timestamp, in the stream's time base, of the keyframe to seek to; null for the
            file's start.
    """

    index: int = Field(ge=0)
    file_index: int = Field(ge=0)
    first_frame: int = Field(ge=0)
    frames: int = Field(ge=1)
    file_first_frame: int = Field(ge=0)
    seek_pts: int | None = None


class Plan(_Record):
    """How a job's recording is cut, and under which name its detection log lies.

    `log_key` hashes what the log depends on: weights, preprocessing, precision, tiles, floor,
    bounds, detect_fps. `file_starts_s` says when each file begins in the recording.
    """

    video: VideoFacts
    segments: tuple[Segment, ...]
    log_key: str
    file_starts_s: tuple[float, ...] = ()
    detector: dict[str, object] = Field(
        description="Name, checkpoint fingerprint, runtime, precision, thresholds: the detector as used."
    )


class Failure(_Record):
    """Why a job failed: a code for programs, a sentence for people, the step in which it happened."""

    code: str
    message: str
    step: str | None = None


class Waiting(_Record):
    """Why a job cannot go on at present: a code for programs, a sentence for people, and since
    when, over all tries.

    Attributes:
        until_utc: When it is tried again; null where that is done all the time.
    """

    code: str
    message: str
    since_utc: UtcDatetime
    until_utc: UtcDatetime | None = None


class Job(_Record):
    """One request to analyse one recording. Immutable: stores return a new one after each change.

    Attributes:
        attempt: Number of the present attempt, from 1; recount and retry start the next one. Writes
            of older ones are refused.
        done_segments: Indices of the segments whose log blob exists; progress is read from it.
        sent_until: Segments below this index were handed out; null where all were, as by releases
            that knew no turns.
        result_revision: The published revision, or null while there is none; survives a failed
            recount.
        staged_revision: While rendering, the revision that is assembled and not published yet.
        counts: Counts of the published revision by class, as in results.json; null before.
        waiting: What the present attempt waits for, such as room on a disk; null while it goes on,
            and once it has ended.
        step_failures: Per step key, transient failures of this attempt. step_starts: starts that
            have not ended (killed workers).
        expired: What was, or is being, deleted because it was kept long enough. expired_at_utc:
            when that was done; null while it is not.
        request_hash: Fingerprint of the submission, compared when its idempotency key is used
            again.
        webhook: Where to tell that an attempt has completed or failed, if anywhere.
        traceparent: W3C trace context of the submission: recounts and messages that are sent again
            belong to the same trace.
    """

    id: str
    state: JobState = "queued"
    attempt: int = 1
    owner: str = "local"
    settings: AnalysisSettings = AnalysisSettings()
    files: tuple[SourceFile, ...] = Field(min_length=1)
    created_at_utc: UtcDatetime
    updated_at_utc: UtcDatetime
    heartbeat_at_utc: UtcDatetime
    completed_at_utc: UtcDatetime | None = None
    plan: Plan | None = None
    done_segments: tuple[int, ...] = ()
    sent_until: int | None = None
    rendered_frames: int = 0
    result_revision: str | None = None
    staged_revision: str | None = None
    counts: Counts | None = None
    artifacts: tuple[str, ...] = ()
    error: Failure | None = None
    waiting: Waiting | None = None
    expired: tuple[Expirable, ...] = ()
    expired_at_utc: UtcDatetime | None = None
    idempotency_key: str | None = None
    request_hash: str | None = None
    webhook: str | None = None
    traceparent: str | None = None
    step_failures: dict[str, int] = {}
    step_starts: dict[str, int] = {}

    @property
    def frames_done(self) -> int:
        """Frames whose detections are stored."""
        if self.plan is None:
            return 0
        done = set(self.done_segments)
        return sum(segment.frames for segment in self.plan.segments if segment.index in done)

    @property
    def handed_out(self) -> tuple[int, ...]:
        """Segments that were handed out and are not done, ascending."""
        if self.plan is None:
            return ()
        left = {segment.index for segment in self.plan.segments} - set(self.done_segments)
        return tuple(
            sorted(index for index in left if self.sent_until is None or index < self.sent_until)
        )

    @property
    def is_detected(self) -> bool:
        """Whether the detections of every segment are stored."""
        return self.plan is not None and len(set(self.done_segments)) >= len(self.plan.segments)

    @property
    def is_terminal(self) -> bool:
        """Whether the present attempt has ended."""
        return self.state in TERMINAL
