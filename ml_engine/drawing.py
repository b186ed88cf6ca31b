"""Draw tracks, lines, zones and running counts into a frame.

Everything that does not change from frame to frame is worked out once, and texts are rendered once and pasted: 50 labels are text enough
to cost more than all else together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES, AnalysisSettings, Line
from core.domain.job import VideoFacts
from ml_engine.counting import counted_classes
from ml_engine.crossings import Crossing, crossings, lines_of
from ml_engine.records import TrackTable

Image = npt.NDArray[np.uint8]
Bgr = tuple[int, int, int]

CLASS_COLOURS_BGR: dict[str, Bgr] = {"bison": (0, 140, 255), "cattle": (190, 160, 0), "person": (180, 60, 220)}
ZONE_COLOURS_BGR: dict[str, Bgr] = {"count": (200, 200, 60), "include": (80, 200, 80), "exclude": (70, 70, 220)}
_LINE_BGR: Bgr = (0, 220, 255)
_WHITE: Bgr = (255, 255, 255)
_DARK: Bgr = (30, 30, 30)
_UNREADABLE_GREY = 96
_FAR_PX = 30_000
"""Points further out would overflow OpenCV's fixed-point drawing."""
TRACE_S = 1.5
"""How much of its way is drawn behind an animal."""


class _Style(NamedTuple):
    """Sizes that follow from the picture's: `thickness` px, `font_scale` of OpenCV's font, `text_thickness` px."""

    thickness: int
    font_scale: float
    text_thickness: int


class FramePainter:
    """Draws into the frames of one recording. Not for several threads at once; frames may come in any order.

    Args:
        tracks: Rows in order of frame, then track id.
        times_s: (n,) time of every frame.
        settings: With lines, zones and classes.
        video: Size and length of the recording.
    """

    def __init__(self, tracks: TrackTable, times_s: npt.NDArray[np.float64], settings: AnalysisSettings, video: VideoFacts) -> None:
        self._tracks = tracks
        self._times_s = times_s
        self._video = video
        self._classes = counted_classes(settings)
        self._lines = lines_of(settings, video)
        self._zones = settings.zones
        short_px = min(video.width_px, video.height_px)
        self._style = _Style(max(1, round(short_px / 540)), max(0.35, short_px / 1800), max(1, round(short_px / 900)))
        self._offsets = np.searchsorted(tracks.frame, np.arange(video.frames + 1, dtype=np.int32))
        self._by_class = _per_frame(tracks, video.frames, self._classes)
        self._seen = _seen_until(tracks, video.frames, self._classes)
        self._passed = _passed_until(crossings(tracks, times_s, settings, video), self._lines, video.frames)

    def best_frame(self) -> int:
        """Return the first frame with the most animals that were really seen (persons, where there are no animals)."""
        seen = ~self._tracks.interpolated
        animals = seen & (self._tracks.class_index != CLASSES.index("person"))
        rows = animals if animals.any() else seen
        return int(np.bincount(self._tracks.frame[rows], minlength=1).argmax())

    def paint(self, image_bgr: Image | None, frame: int) -> Image:
        """Draw into a frame.

        Args:
            image_bgr: (height, width, 3) uint8, changed in place; None: the frame could not be read.
            frame: Its index over all files of the recording.

        Returns:
            The same picture, or a grey one that says `unreadable`.
        """
        if image_bgr is None:
            image_bgr = np.full((self._video.height_px, self._video.width_px, 3), _UNREADABLE_GREY, np.uint8)
            label = _text("unreadable", _DARK, self._style)
            _paste(image_bgr, label, (self._video.width_px - label.shape[1]) // 2, (self._video.height_px - label.shape[0]) // 2)
        self._paint_zones(image_bgr)
        self._paint_lines(image_bgr, frame)
        rows = slice(int(self._offsets[frame]), int(self._offsets[frame + 1]))
        self._paint_traces(image_bgr, frame)
        self._paint_boxes(image_bgr, rows)
        self._paint_panel(image_bgr, frame)
        return image_bgr

    def _paint_zones(self, image_bgr: Image) -> None:
        for zone in self._zones:
            colour = ZONE_COLOURS_BGR[zone.mode]
            corners = np.array(zone.polygon).round().astype(np.int32)
            cv2.polylines(image_bgr, [corners], True, colour, self._style.thickness)
            left, top = corners[corners[:, 1].argmin()]
            _paste(image_bgr, _text(f"{zone.name} ({zone.mode})", colour, self._style), int(left), int(top))

    def _paint_lines(self, image_bgr: Image, frame: int) -> None:
        for line in self._lines:
            start, end = np.array(line.start), np.array(line.end)
            cv2.line(image_bgr, _px(start), _px(end), _LINE_BGR, self._style.thickness)
            middle, along = (start + end) / 2, (end - start) / np.hypot(*(end - start))
            # `in` is towards the right-hand side of the line's direction, which with y pointing down is this:
            inwards = np.array([-along[1], along[0]]) * 14 * self._style.thickness
            cv2.arrowedLine(image_bgr, _px(middle), _px(middle + inwards), _LINE_BGR, self._style.thickness, tipLength=0.4)
            passed_in, passed_out = self._passed[line.name][frame]
            label = _text(f"{line.name}: in {passed_in}, out {passed_out}", _LINE_BGR, self._style, ink=_DARK)
            anchor = middle - inwards - np.array(label.shape[1::-1]) / 2
            _paste(image_bgr, label, *_px(anchor))

    def _paint_traces(self, image_bgr: Image, frame: int) -> None:
        first = int(np.searchsorted(self._times_s, self._times_s[frame] - TRACE_S))
        # The window's rows are sorted anew for every frame: it takes 0.1 ms, while an index over all rows would take memory.
        begin, now, end = (int(self._offsets[n]) for n in (first, frame, frame + 1))
        visible = begin + np.flatnonzero(np.isin(self._tracks.track_id[begin:end], self._tracks.track_id[now:end]))
        rows = visible[np.argsort(self._tracks.track_id[visible], kind="stable")]
        if not len(rows):
            return
        xyxy = np.clip(self._tracks.xyxy[rows], -_FAR_PX, _FAR_PX)
        points = np.stack([(xyxy[:, 0] + xyxy[:, 2]) / 2, xyxy[:, 3]], axis=1).round().astype(np.int32)
        borders = np.flatnonzero(np.diff(self._tracks.track_id[rows])) + 1
        ways: dict[int, list[npt.NDArray[np.int32]]] = {}
        for way, kind in zip(np.split(points, borders), self._tracks.class_index[rows[np.append(borders - 1, -1)]].tolist(), strict=True):
            ways.setdefault(kind, []).append(way)
        for kind in sorted(ways):
            cv2.polylines(image_bgr, ways[kind], False, CLASS_COLOURS_BGR[CLASSES[kind]], self._style.thickness)

    def _paint_boxes(self, image_bgr: Image, rows: slice) -> None:
        tracks = self._tracks
        boxes = np.clip(tracks.xyxy[rows], -_FAR_PX, _FAR_PX).round().astype(np.int32).tolist()
        kinds, gaps, ids = tracks.class_index[rows].tolist(), tracks.interpolated[rows].tolist(), tracks.track_id[rows].tolist()
        thickness = self._style.thickness
        for (x1, y1, x2, y2), kind, gap in zip(boxes, kinds, gaps, strict=True):
            colour = CLASS_COLOURS_BGR[CLASSES[kind]]
            cv2.rectangle(image_bgr, (x1, y1), (x2, y2), _paler(colour) if gap else colour, 1 if gap else thickness)
        for (x1, y1, _, _), kind, gap, track_id in zip(boxes, kinds, gaps, ids, strict=True):
            colour = CLASS_COLOURS_BGR[CLASSES[kind]]
            label = _text(f"{track_id}", _paler(colour) if gap else colour, self._style)
            _paste(image_bgr, label, x1, y1 - label.shape[0])

    def _paint_panel(self, image_bgr: Image, frame: int) -> None:
        minutes, seconds = divmod(float(self._times_s[frame]), 60)
        rows = [_text(f"{int(minutes):02d}:{seconds:04.1f}", _DARK, self._style)]
        for name in self._classes:
            visible, seen = self._by_class[name][frame], self._seen[name][frame]
            rows.append(_text(f"{name} {visible} (of {seen} so far)", _DARK, self._style, ink=_paler(CLASS_COLOURS_BGR[name])))
        top = 0
        for row in rows:
            _paste(image_bgr, row, 0, top)
            top += row.shape[0]


def _per_frame(tracks: TrackTable, frames: int, classes: Sequence[str]) -> dict[str, npt.NDArray[np.int64]]:
    """Return per class how many tracks have a box in each frame."""
    return {name: np.bincount(tracks.frame[tracks.class_index == CLASSES.index(name)], minlength=frames) for name in classes}


def _seen_until(tracks: TrackTable, frames: int, classes: Sequence[str]) -> dict[str, npt.NDArray[np.int64]]:
    """Return per class how many different tracks there were up to each frame."""
    result = {}
    for name in classes:
        mine = tracks.class_index == CLASSES.index(name)
        # Rows are in order of frame, so a track's first row is its first frame.
        _, first = np.unique(tracks.track_id[mine], return_index=True)
        result[name] = np.bincount(tracks.frame[mine][first], minlength=frames).cumsum()
    return result


def _passed_until(found: Sequence[Crossing], lines: Sequence[Line], frames: int) -> dict[str, npt.NDArray[np.int64]]:
    """Return per line (frames, 2): how many passed it up to each frame, in and out."""
    passed = {line.name: np.zeros((frames, 2), np.int64) for line in lines}
    for crossing in found:
        passed[crossing.line][crossing.frame, 0 if crossing.direction == "in" else 1] += 1
    return {name: counts.cumsum(axis=0) for name, counts in passed.items()}


def _px(point: npt.NDArray[np.float64]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _paler(colour: Bgr) -> Bgr:
    return tuple((c + 255) // 2 for c in colour)  # type: ignore[return-value]


@lru_cache(maxsize=4096)
def _text(text: str, ground: Bgr, style: _Style, ink: Bgr = _WHITE) -> Image:
    """Return a picture of a text on its ground, with a small margin. Shared: never written to."""
    shown = text.encode("ascii", "replace").decode()
    (width, height), below = cv2.getTextSize(shown, cv2.FONT_HERSHEY_SIMPLEX, style.font_scale, style.text_thickness)
    margin = style.thickness + 1
    label = np.full((height + below + 2 * margin, width + 2 * margin, 3), ground, np.uint8)
    place = (margin, margin + height)
    cv2.putText(label, shown, place, cv2.FONT_HERSHEY_SIMPLEX, style.font_scale, ink, style.text_thickness, cv2.LINE_AA)
    label.flags.writeable = False
    return label


def _paste(image_bgr: Image, label: Image, left: int, top: int) -> None:
    """Paste a label with its corner at a place, moved so that it lies inside the picture; what is larger than it is cut."""
    height, width = image_bgr.shape[:2]
    label = label[:height, :width]
    left, top = max(0, min(left, width - label.shape[1])), max(0, min(top, height - label.shape[0]))
    image_bgr[top : top + label.shape[0], left : left + label.shape[1]] = label
