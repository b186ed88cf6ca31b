"""Visibility of animals over time, for counts, zones and the timeline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.domain.analysis import AnalysisSettings
from core.domain.job import VideoFacts
from ml_engine.arrays import TrackTable

NEEDED_S = 0.5
"""Least time for which a counted animal is visible. A shorter track may be flicker."""


@dataclass(frozen=True, slots=True)
class Presence:
    """The recording's frames, and the time that is long enough.

    Attributes:
        first_frame: Index of the log's first frame.
        frames: Number of frames.
        tracks: Highest track id.
        looked_at: (n,) bool: detected, not skipped and not unreadable.
        frame_s: Length of a frame.
        step_s: Time between frames given to the detector. Each row of a track stands for this time.
        needed_s: Time for which an animal must be visible: `NEEDED_S`, or the whole recording if
            that is shorter.
    """

    first_frame: int
    frames: int
    tracks: int
    looked_at: npt.NDArray[np.bool_]
    frame_s: float
    step_s: float
    needed_s: float

    @staticmethod
    def of(
        frames: npt.NDArray[np.int32],
        status: npt.NDArray[np.uint8],
        tracks: TrackTable,
        video: VideoFacts,
        settings: AnalysisSettings,
    ) -> Presence:
        """Describe a recording: `frames` and `status` (n,) as in a detection log."""
        frame_s, step_s, needed_s = frame_times(video, settings)
        return Presence(
            first_frame=int(frames[0]) if len(frames) else 0,
            frames=len(frames),
            tracks=int(tracks.track_id.max(initial=0)),
            looked_at=status == 0,
            frame_s=frame_s,
            step_s=step_s,
            needed_s=needed_s,
        )

    def seconds(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the time for which a track with this many rows was visible, gaps closed."""
        return (rows - 1).astype(np.float64) * self.frame_s + self.step_s

    def class_of_track(self, tracks: TrackTable) -> npt.NDArray[np.int8]:
        """Return the class index of every track id: (highest id + 1,); -1 without a track."""
        result = np.full(self.tracks + 1, -1, np.int8)
        result[tracks.track_id] = tracks.class_index
        return result

    def per_frame(self, tracks: TrackTable, rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Return the number of chosen rows in each frame: (frames,)."""
        return np.bincount(tracks.frame[rows] - self.first_frame, minlength=self.frames)

    def peak(self, series: npt.NDArray[np.int64]) -> int:
        """Return the peak: the greatest number that was visible throughout some time of `needed_s`.

        Frames that could not be decoded are left out.
        """
        seen = series[self.looked_at]
        if not len(seen):
            return 0
        window = min(max(1, round(self.needed_s / self.step_s)), len(seen))
        return int(np.lib.stride_tricks.sliding_window_view(seen, window).min(axis=1).max())

    def mean(self, series: npt.NDArray[np.int64]) -> float:
        """Return the mean over the frames given to the detector."""
        return round(float(series[self.looked_at].mean()), 3) if self.looked_at.any() else 0.0


def frame_times(video: VideoFacts, settings: AnalysisSettings) -> tuple[float, float, float]:
    """Return three times in seconds: a frame, a step of detection, and the least visible time."""
    frame_s = 1 / video.fps if video.fps > 0 else 1.0
    step_s = max(frame_s, 1 / settings.detect_fps) if settings.detect_fps else frame_s
    return frame_s, step_s, min(NEEDED_S, max(video.frames * frame_s, frame_s))


def long_enough(
    tracks: TrackTable, video: VideoFacts, settings: AnalysisSettings
) -> npt.NDArray[np.bool_]:
    """Return which rows (n,) belong to a track that is visible long enough to be counted."""
    frame_s, step_s, needed_s = frame_times(video, settings)
    rows = np.bincount(tracks.track_id)
    return ((rows - 1) * frame_s + step_s >= needed_s - 1e-9)[tracks.track_id]
