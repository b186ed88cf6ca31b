"""Statistics of finished jobs, one record per job. The statistics endpoints return them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from core.domain.clock import UtcDatetime
from core.domain.interval import INTERVAL_NOTE


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClassStatistics(_Record):
    """Figures of one class in one job.

    `detections`: boxes over the threshold, all frames; `avg_confidence`: their mean score.
    """

    unique: int
    low: int = Field(description=INTERVAL_NOTE)
    high: int = Field(description=INTERVAL_NOTE)
    peak: int
    mean: float
    detections: int
    avg_confidence: float = Field(ge=0, le=1)


class JobStatistics(_Record):
    """Statistics of one job's published revision.

    `timestamp_utc` is the start of the recording, or of the submission if that is unknown.
    """

    job_id: str
    attempt: int = Field(ge=1)
    revision: str
    owner: str = "local"
    camera: str | None = None
    timestamp_utc: UtcDatetime
    frames: int
    fps: float
    duration_s: float
    classes: dict[str, ClassStatistics]
    total_in: int = 0
    total_out: int = 0


class TimeBucket(_Record):
    """One bucket of a time series of one class.

    It holds the number of jobs, sum and mean of `unique`, and the highest `peak`.
    """

    start_utc: UtcDatetime
    jobs: int
    unique_sum: int
    unique_mean: float
    peak_max: int
