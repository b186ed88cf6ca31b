"""A job: one request to analyse one recording, and its stored state."""

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
    # Unknown fields of a newer release are ignored. Stores change named fields only, so none is
    # lost.
    model_config = ConfigDict(frozen=True, extra="ignore")


def new_job_id() -> str:
    """Return a new unique id: 32 hexadecimal digits."""
    return uuid.uuid4().hex


class TelemetryRemark(_Record):
    """A remark about telemetry: a code for programs, a sentence for people."""

    code: str
    message: str


class TelemetryFile(_Record):
    """A drone's telemetry for one video file.

    It is an `.SRT` file that was sent beside the video, or the subtitle track within the video.

    Attributes:
        source: Its origin.
        name: The user's name for the file; displayed, never used as a path.
        blob: Blob name of the `.SRT` in the input container. Null if the track cannot be used;
            `warnings` then states the reason.
        etag: Pins the content of the blob.
        dialect: The dialect of the file; `core.telemetry` lists the dialects.
        samples: Number of records.
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
    """One video file of the recording in blob storage.

    `name` is the user's name for it: displayed, never used as a path. `etag` pins the content:
    reads carry `If-Match`.
    """

    name: str
    blob: str
    size_bytes: int = Field(ge=0)
    etag: str
    telemetry: TelemetryFile | None = None


class VideoFacts(_Record):
    """The facts about the recording that planning determined.

    Sizes are those of the picture as displayed, after rotation.
    """

    frames: int = Field(ge=1)
    fps: float
    width_px: int
    height_px: int
    duration_s: float


class Segment(_Record):
    """A contiguous run of frames of one file, starting at a keyframe.

    It is the unit of detection, checkpoint and parallelism.

    Attributes:
        index: Position among all segments of the job, from 0.
        file_index: Index of the file within the job.
        first_frame: Index of the first frame over all files, in presentation order, without discard
            packets.
        frames: Number of frames.
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
    """The segments of a job's recording, and the key of its detection log.

    `log_key` hashes everything that the log depends on: weights, preprocessing, precision, tiles,
    floor, bounds, detect_fps. `file_starts_s` lists the start of each file within the recording, in
    seconds.
    """

    video: VideoFacts
    segments: tuple[Segment, ...]
    log_key: str
    file_starts_s: tuple[float, ...] = ()
    detector: dict[str, object] = Field(
        description="The detector as used: name, checkpoint fingerprint, runtime, precision, "
        "thresholds."
    )


class Failure(_Record):
    """The reason for a failure: code, sentence for people, and the step in which it happened."""

    code: str
    message: str
    step: str | None = None


class Waiting(_Record):
    """The reason for which a job waits, and since when over all tries.

    Attributes:
        until_utc: Time of the next try; null if it is retried continuously.
    """

    code: str
    message: str
    since_utc: UtcDatetime
    until_utc: UtcDatetime | None = None


class Job(_Record):
    """One request to analyse one recording. Immutable: stores return a new one after each change.

    Attributes:
        attempt: Number of the current attempt, from 1. Recount and retry start the next one. Writes
            of older attempts are refused.
        done_segments: Indices of the segments whose log blob exists; progress is computed from it.
        sent_until: Segments below this index were sent to workers. Null if all were, as by releases
            before turns existed.
        result_revision: The published revision; null until one is published. It survives a failed
            recount.
        staged_revision: While rendering, the revision that is assembled and not published yet.
        counts: Counts of the published revision by class, as in results.json; null until then.
        waiting: What the current attempt waits for, such as space on a disk. Null while it runs and
            once it has ended.
        step_failures: Transient failures of this attempt per step key.
        step_starts: Starts per step key that have not ended, as when a worker was killed.
        expired: What was, or is being, deleted at the end of its retention.
        expired_at_utc: When that deletion was done; null until then.
        request_hash: Fingerprint of the submission, compared when its idempotency key is used
            again.
        webhook: URL to which the end of an attempt is reported, if any.
        traceparent: W3C trace context of the submission. Recounts and repeated messages belong to
            the same trace.
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
        """Number of frames whose detections are stored."""
        if self.plan is None:
            return 0
        done = set(self.done_segments)
        return sum(segment.frames for segment in self.plan.segments if segment.index in done)

    @property
    def handed_out(self) -> tuple[int, ...]:
        """Segments that were sent to workers and are not done, ascending."""
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
        """Whether the current attempt has ended."""
        return self.state in TERMINAL
