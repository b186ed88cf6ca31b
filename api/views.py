"""The documented types of API responses, and their construction from domain objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.services import Services
from api.settings_views import ListedSettings, SettingsBody, listed_settings
from api.webhook_views import WEBHOOK_DESCRIPTION, WebhookView, webhook_view
from core.domain.analysis import AnalysisSettings
from core.domain.blobs import ARTIFACTS
from core.domain.clock import UtcDatetime
from core.domain.interval import INTERVAL_NOTE
from core.domain.job import (
    Expirable,
    Failure,
    Job,
    JobState,
    SourceFile,
    TelemetryRemark,
    VideoFacts,
    Waiting,
)
from core.domain.results import Counts
from core.domain.statistics import JobStatistics, TimeBucket
from core.domain.webhook import WebhookEvent
from core.ports import BlobInfo

JOBS = "/api/v1/jobs"


class TelemetryView(BaseModel):
    """The telemetry that a drone recorded while it filmed a file."""

    source: Literal["uploaded", "embedded"] = Field(
        description="`uploaded` with the video, or `embedded` in it as a track."
    )
    name: str = Field(examples=["DJI_0042.SRT"])
    dialect: str | None = Field(
        description="The format of the telemetry; null if it could not be used.",
        examples=["bracket"],
    )
    samples: int = Field(description="Records read.", examples=[5321])
    has_position: bool = Field(description="Whether any sample has the position of the drone.")
    has_attitude: bool = Field(
        description="Whether any sample has the direction of the camera. Only then are animals "
        "placed on the map."
    )
    warnings: list[TelemetryRemark]


class FileView(BaseModel):
    """A video file of a recording."""

    name: str = Field(examples=["DJI_0042.MP4"])
    size_bytes: int
    telemetry: TelemetryView | None = Field(
        None, description="Null unless it was uploaded or the plan step found it in the video."
    )


class ProgressView(BaseModel):
    """The progress of the current step."""

    step: JobState = Field(examples=["detecting"])
    frames_done: int = Field(examples=[600])
    frames_total: int | None = Field(
        description="Null until the video was probed.", examples=[1800]
    )
    fraction: float = Field(ge=0, le=1, description="The part that is done.", examples=[0.3333])
    seconds_left: float | None = Field(
        description="For this step; null until it can be estimated.", examples=[41.5]
    )


class Totals(BaseModel):
    """CattleCounter's result: crossings of all lines, all classes together.

    `total_count` is the sum of both directions.
    """

    total_in: int
    total_out: int
    total_count: int


class _JobFields(BaseModel):
    id: str = Field(examples=["3f1b6c0e8d5f4a7c9a1e2b3c4d5e6f70"])
    owner: str = Field(
        description="The owner. Only the owner and admins can see the job.",
        examples=["north ranch"],
    )
    state: JobState
    attempt: int
    created_at_utc: UtcDatetime
    updated_at_utc: UtcDatetime
    completed_at_utc: UtcDatetime | None
    files: list[FileView]
    video: VideoFacts | None = Field(description="Null until the video was probed.")
    progress: ProgressView
    counts: Counts | None = Field(
        description="Counts of the published results by class; null until results are published. "
        f"{INTERVAL_NOTE}"
    )
    totals: Totals | None = Field(
        description="Totals of the published results; null before these exist, and in listings."
    )
    artifacts: list[str] = Field(examples=[["results.json", "tracks.csv", "annotated.mp4"]])
    error: Failure | None = Field(description="Why the job failed.")
    waiting: Waiting | None = Field(
        description="Why the job waits, such as a full disk; null if it does not wait."
    )
    webhook: WebhookView | None = Field(
        description="The webhook that reports how the job ends; null if there is none."
    )
    expired: list[Expirable] = Field(
        description="Files deleted at the end of their retention period. `counts` are retained.",
        examples=[["sources"]],
    )
    links: dict[str, str]


class JobView(_JobFields):
    """The current state of a job."""

    settings: AnalysisSettings


class JobSummary(_JobFields):
    """A job in a listing or a status event, without the long lists of its settings."""

    settings: ListedSettings


class JobPage(BaseModel):
    """A page of jobs, newest first."""

    items: list[JobSummary]
    next_cursor: str | None = Field(
        description="Send it as `cursor` for the next page; null on the last page."
    )


class ArtifactView(BaseModel):
    """A published result file."""

    name: str = Field(examples=["annotated.mp4"])
    media_type: str = Field(examples=["video/mp4"])
    size_bytes: int
    etag: str
    url: str


class ArtifactList(BaseModel):
    """The published result files."""

    revision: str = Field(examples=["r0001"])
    items: list[ArtifactView]


class UploadRequest(BaseModel):
    """A request for a link to upload one file."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(
        None,
        max_length=1000,
        description="The file's name, for your own records.",
        examples=["DJI_0042.MP4"],
    )
    size_bytes: int | None = Field(
        None,
        ge=0,
        description="Counts towards the day's quota. A file that is larger than this is refused.",
        examples=[4_000_000_000],
    )


class UploadView(BaseModel):
    """The upload of one file: send it with `method` and `headers` to `url`."""

    upload_id: str
    url: str
    method: str = Field(examples=["PUT"])
    headers: dict[str, str] = Field(examples=[{"x-ms-blob-type": "BlockBlob"}])
    expires_at_utc: UtcDatetime


class UploadedRecording(BaseModel):
    """A recording that consists of finished uploads."""

    model_config = ConfigDict(extra="forbid")

    upload_ids: list[str] = Field(
        description="In the recording's order.", examples=[["9d3c7a61e0f84c0b8a7d5e4f3c2b1a09"]]
    )
    names: list[str] = Field(
        [], description="One name for each file, or an empty list.", examples=[["DJI_0042.MP4"]]
    )
    telemetry_upload_ids: list[str] = Field([], description="Uploads of telemetry (`.SRT`).")
    telemetry_names: list[str] = Field(
        [],
        description="Names of the telemetry files. Each is its video's name with another "
        "extension. Not needed if each video has a telemetry file, in the videos' order.",
        examples=[["DJI_0042.SRT"]],
    )
    settings: SettingsBody | None = Field(None, examples=[{"only": "bison"}])
    webhook: str | None = Field(
        None, description=WEBHOOK_DESCRIPTION, examples=["https://example.org/muster"]
    )


class SubmitJobAnswer(BaseModel):
    """CattleCounter's response to an upload."""

    job_id: str
    blob_name: str
    status: str = Field(examples=["queued"])
    message: str


class StatsPage(BaseModel):
    """A page of statistics, newest first."""

    items: list[JobStatistics]
    next_cursor: str | None


class TimeSeries(BaseModel):
    """Counts of one class per bucket, oldest first. Empty buckets are left out.

    Weeks begin on Monday. All times are UTC.
    """

    muster_class: str = Field(serialization_alias="class")
    bucket: str
    items: list[TimeBucket]


class BisonStats(BaseModel):
    """Statistics in the bison tracker's shape."""

    id: str = Field(serialization_alias="_id")
    total_frames: int
    total_detections: int
    max_bison_in_frame: int
    avg_confidence: float
    fps: float
    timestamp: str


class HealthProblem(BaseModel):
    """A problem that needs the operator's attention."""

    code: str = Field(examples=["storage_full"])
    message: str
    degrades: bool = Field(
        True,
        description="Whether the problem blocks work. If not, the operator must decide something.",
    )
    workers: list[str] = Field(
        [], description="Ids of the workers that report the problem; empty if no worker reports it."
    )


class Health(BaseModel):
    """The health of the system.

    `gpu_available`, `device` and `models_loaded` are from the workers' reports of the last minutes.
    """

    status: str = Field(
        examples=["healthy"],
        description="`degraded` if a part is unavailable, if no worker reports, or if a problem "
        "blocks work; otherwise `healthy`.",
    )
    gpu_available: bool
    device: str = Field(examples=["openvino:cpu"], description="`none` while no worker reports.")
    models_loaded: list[str]
    database_connected: bool
    storage_connected: bool
    workers: int
    problems: list[HealthProblem]


class Live(BaseModel):
    """The response of a live process."""

    status: str = Field(examples=["live"])


class Ready(BaseModel):
    """Whether requests can be served."""

    status: str = Field(examples=["ready"])
    checks: dict[str, bool]


def job_view(
    job: Job,
    services: Services,
    statistics: JobStatistics | None = None,
    events: Sequence[WebhookEvent] | None = None,
) -> JobView:
    """Return the view of a job. Its totals and webhook events are included if they were read."""
    return JobView(settings=job.settings, **_fields(job, services, statistics, events))


def job_summary(job: Job, services: Services) -> JobSummary:
    """Return the view of a job in listings and status events."""
    return JobSummary(settings=listed_settings(job.settings), **_fields(job, services))


def _fields(
    job: Job,
    services: Services,
    statistics: JobStatistics | None = None,
    events: Sequence[WebhookEvent] | None = None,
) -> dict[str, object]:
    progress = services.meter.progress(job, services.clock())
    base = f"{JOBS}/{job.id}"
    return dict(
        id=job.id,
        owner=job.owner,
        state=job.state,
        attempt=job.attempt,
        created_at_utc=job.created_at_utc,
        updated_at_utc=job.updated_at_utc,
        completed_at_utc=job.completed_at_utc,
        files=[_file_view(file) for file in job.files],
        video=job.plan.video if job.plan else None,
        progress=ProgressView(
            step=job.state,
            frames_done=progress.frames_done,
            frames_total=progress.frames_total,
            fraction=progress.fraction,
            seconds_left=progress.seconds_left,
        ),
        counts=job.counts,
        totals=totals_view(statistics) if statistics else None,
        artifacts=list(job.artifacts),
        error=job.error,
        waiting=job.waiting,
        webhook=webhook_view(job, events),
        expired=list(job.expired),
        links={
            "self": base,
            "results": f"{base}/results",
            "artifacts": f"{base}/artifacts",
            "cancel": f"{base}/cancel",
            "recount": f"{base}/recount",
            "retry": f"{base}/retry",
            "events": f"/ws/jobs/{job.id}",
        },
    )


def _file_view(file: SourceFile) -> FileView:
    found = file.telemetry
    shown = (
        TelemetryView(**found.model_dump(include=set(TelemetryView.model_fields)))
        if found
        else None
    )
    return FileView(name=file.name, size_bytes=file.size_bytes, telemetry=shown)


def bison_stats(record: JobStatistics) -> BisonStats:
    """Return a record in the shape of the bison tracker's `BisonStats`."""
    figures = record.classes.get("bison")
    return BisonStats(
        id=record.job_id,
        total_frames=record.frames,
        total_detections=figures.detections if figures else 0,
        max_bison_in_frame=figures.peak if figures else 0,
        avg_confidence=figures.avg_confidence if figures else 0.0,
        fps=record.fps,
        timestamp=record.timestamp_utc.isoformat().replace("+00:00", "Z"),
    )


def totals_view(statistics: JobStatistics) -> Totals:
    """Return the totals of a job's statistics."""
    both = statistics.total_in + statistics.total_out
    return Totals(total_in=statistics.total_in, total_out=statistics.total_out, total_count=both)


def artifact_view(job_id: str, name: str, info: BlobInfo) -> ArtifactView:
    """Return the view of a result file."""
    return ArtifactView(
        name=name,
        media_type=ARTIFACTS[name],
        size_bytes=info.size_bytes,
        etag=info.etag,
        url=f"{JOBS}/{job_id}/artifacts/{name}",
    )
