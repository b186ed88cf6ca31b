"""The frame painter: tracks, lines, zones and running counts, drawn with `supervision`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import supervision as sv

from core.domain.analysis import CLASSES, AnalysisSettings, Line
from core.domain.job import VideoFacts
from ml_engine.arrays import Image, TrackTable
from ml_engine.boxes import foot_points
from ml_engine.counting.counts import counted_classes
from ml_engine.counting.line_crossings import Crossing, crossings, lines_of

CLASS_COLOURS: dict[str, sv.Color] = {
    "bison": sv.Color(235, 110, 0),
    "cattle": sv.Color(0, 120, 215),
    "person": sv.Color(200, 40, 160),
}
ZONE_COLOURS: dict[str, sv.Color] = {
    "count": sv.Color(0, 150, 150),
    "include": sv.Color(40, 150, 40),
    "exclude": sv.Color(200, 50, 50),
}
LINE_COLOUR = sv.Color(255, 220, 0)
_DARK = sv.Color(30, 30, 30)
_UNREADABLE_GREY = 96
_PANEL_OPACITY = 0.7
_FAR_PX = 30_000
"""Points farther away would overflow OpenCV's fixed-point drawing."""
_CHUNK_ROWS = 65_536
TRACE_S = 1.5
"""Length in time of the path that is drawn behind an animal."""
NAMED_UP_TO = 12
"""Most animals in a frame whose labels name the class. With more animals labels are numbers only,
because longer labels hide the herd. The colour shows the class.
"""


class _Style(NamedTuple):
    """Sizes that follow from the frame's.

    `thickness` in px, `text_scale` of OpenCV's font, `text_thickness`, `padding` around text in px.
    """

    thickness: int
    text_scale: float
    text_thickness: int
    padding: int


class FramePainter:
    """Draws into the frames of one recording, in any order. Not thread-safe.

    Args:
        tracks: Rows in order of frame, then track id.
        times_s: (n,) time of every frame.
        settings: With lines, zones and classes.
        video: Size and length of the recording.
    """

    def __init__(
        self,
        tracks: TrackTable,
        times_s: npt.NDArray[np.float64],
        settings: AnalysisSettings,
        video: VideoFacts,
    ) -> None:
        self._tracks = tracks
        self._times_s = times_s
        self._video = video
        self._classes = counted_classes(settings)
        self._lines = lines_of(settings, video)
        self._zones = settings.zones
        self._offsets = np.searchsorted(tracks.frame, np.arange(video.frames + 1, dtype=np.int32))
        self._visible, self._seen, self._certain = _counts(tracks, video.frames)
        self._passed = _passed_until(
            crossings(tracks, times_s, settings, video), self._lines, video.frames
        )
        self._named = int(np.diff(self._offsets).max(initial=0)) <= NAMED_UP_TO
        self._make_annotators()
        self._panel_px = self._panel_width_px()

    def _make_annotators(self) -> None:
        short_px = min(self._video.width_px, self._video.height_px)
        style = _Style(
            max(1, round(short_px / 540)),
            max(0.35, short_px / 2000),
            max(1, round(short_px / 900)),
            max(2, round(short_px / 360)),
        )
        self._style = style
        colours = [CLASS_COLOURS[name] for name in CLASSES]
        palette = sv.ColorPalette([*colours, *map(_paler, colours)])
        ink = sv.ColorPalette([sv.Color.WHITE] * len(CLASSES) + [_DARK] * len(CLASSES))
        self._boxes = sv.BoxAnnotator(palette, thickness=style.thickness)
        self._guessed_boxes = sv.BoxAnnotator(palette, thickness=1)
        self._labels = sv.LabelAnnotator(
            palette,
            text_color=ink,
            text_scale=style.text_scale,
            text_thickness=style.text_thickness,
            text_padding=style.padding,
        )
        # The annotator's length is in frames, and 0 means unlimited. The window is cut in seconds
        # before, which is right at any rate and across gaps.
        self._traces = sv.TraceAnnotator(
            palette, position=sv.Position.BOTTOM_CENTER, trace_length=0, thickness=style.thickness
        )

    def best_frame(self) -> int:
        """Return the first frame with the most detected animals (without animals: persons)."""
        person = CLASSES.index("person")
        animals = np.delete(self._certain, person, axis=0).sum(axis=0)
        return int((animals if animals.any() else self._certain[person]).argmax())

    def paint(self, image_bgr: Image | None, frame: int) -> Image:
        """Draw into a frame.

        Args:
            image_bgr: (height, width, 3) uint8, changed in place; None: the frame could not be
                decoded.
            frame: Its index over all files of the recording.

        Returns:
            The same image, or a grey one with the text `unreadable`.
        """
        if image_bgr is None:
            width, height = self._video.width_px, self._video.height_px
            image_bgr = np.full((height, width, 3), _UNREADABLE_GREY, np.uint8)
            self._text(image_bgr, "unreadable", (width / 2, height / 2), _DARK)
        self._paint_places(image_bgr)
        rows = slice(int(self._offsets[frame]), int(self._offsets[frame + 1]))
        if rows.start < rows.stop:
            self._paint_tracks(image_bgr, frame, rows)
        self._name_places(image_bgr, frame)
        self._paint_panel(image_bgr, frame)
        return image_bgr

    def _paint_places(self, image_bgr: Image) -> None:
        thickness = self._style.thickness
        for zone in self._zones:
            sv.draw_polygon(
                image_bgr,
                np.array(zone.polygon).round().astype(np.int32),
                ZONE_COLOURS[zone.mode],
                thickness,
            )
        for line in self._lines:
            sv.draw_line(
                image_bgr, sv.Point(*line.start), sv.Point(*line.end), LINE_COLOUR, thickness
            )
            middle, inwards = _middle_and_inwards(line)
            along = np.array([inwards[1], -inwards[0]])
            arrow = np.stack(
                [
                    middle + 8 * thickness * along,
                    middle + 12 * thickness * inwards,
                    middle - 8 * thickness * along,
                ]
            )
            sv.draw_filled_polygon(image_bgr, arrow.round().astype(np.int32), LINE_COLOUR)

    def _name_places(self, image_bgr: Image, frame: int) -> None:
        for zone in self._zones:
            name = f"{zone.name} ({zone.mode})"
            top = np.array(min(zone.polygon, key=lambda corner: corner[1]))
            self._text(
                image_bgr, name, top + np.array(self._size_px(name)) / 2, ZONE_COLOURS[zone.mode]
            )
        for line in self._lines:
            passed_in, passed_out = self._passed[line.name][frame].tolist()
            name = f"{line.name}: in {passed_in}, out {passed_out}"
            middle, inwards = _middle_and_inwards(line)
            # Beside the line, in any direction:
            away = np.abs(inwards) @ self._size_px(name) / 2 + self._style.thickness
            self._text(image_bgr, name, middle - inwards * away, LINE_COLOUR, _DARK)

    def _paint_tracks(self, image_bgr: Image, frame: int, rows: slice) -> None:
        tracks = self._tracks
        guessed = tracks.interpolated[rows]
        # Annotators truncate decimals.
        xyxy = np.clip(tracks.xyxy[rows], -_FAR_PX, _FAR_PX).round()
        class_id, track_id = (
            tracks.class_index[rows] + len(CLASSES) * guessed,
            tracks.track_id[rows],
        )
        boxes = sv.Detections(xyxy=xyxy, class_id=class_id, tracker_id=track_id)
        self._paint_traces(image_bgr, frame, boxes, tracks.class_index[rows])
        if guessed.any():
            for annotator, mine in ((self._guessed_boxes, guessed), (self._boxes, ~guessed)):
                annotator.annotate(
                    image_bgr,
                    sv.Detections(
                        xyxy=xyxy[mine], class_id=class_id[mine], tracker_id=track_id[mine]
                    ),
                )
        else:
            self._boxes.annotate(image_bgr, boxes)
        self._paint_labels(image_bgr, boxes, tracks.class_index[rows], track_id)

    def _paint_traces(
        self, image_bgr: Image, frame: int, boxes: sv.Detections, class_index: npt.NDArray[np.int8]
    ) -> None:
        first = int(np.searchsorted(self._times_s, self._times_s[frame] - TRACE_S))
        past = slice(int(self._offsets[first]), int(self._offsets[frame]))
        # The annotator has a memory of earlier frames. It is filled again from the table, so that a
        # frame looks the same whichever frames were painted before, and its paths have the right
        # length.
        trace = self._traces.trace
        trace.reset()
        trace.frame_id = self._tracks.frame[past].astype(np.intp)
        trace.tracker_id = self._tracks.track_id[past].astype(np.intp)
        trace.xy = (
            np.clip(foot_points(self._tracks.xyxy[past]), -_FAR_PX, _FAR_PX)
            .round()
            .astype(np.float32)
        )
        trace.current_frame_id = frame
        self._traces.annotate(image_bgr, boxes, custom_color_lookup=class_index.astype(np.intp))

    def _paint_labels(
        self,
        image_bgr: Image,
        boxes: sv.Detections,
        class_index: npt.NDArray[np.int8],
        track_id: npt.NDArray[np.int32],
    ) -> None:
        ids = track_id.tolist()
        texts = (
            [
                f"{CLASSES[kind]} #{number}"
                for kind, number in zip(class_index.tolist(), ids, strict=True)
            ]
            if self._named
            else None
        )
        texts = texts or [f"#{number}" for number in ids]
        # The annotator's own `smart_position` takes longer than all else together, and its labels
        # jump about. Here only labels outside the frame are moved, by moving the box to which the
        # label belongs.
        size = np.array([self._size_px(max(texts, key=len))])
        corner = np.clip(
            boxes.xyxy[:, :2],
            (0, size[0, 1]),
            np.maximum((0, size[0, 1]), np.array(image_bgr.shape[1::-1]) - (size[0, 0], 0)),
        )
        self._labels.annotate(
            image_bgr,
            sv.Detections(xyxy=np.concatenate([corner, corner], axis=1), class_id=boxes.class_id),
            texts,
        )

    def _paint_panel(self, image_bgr: Image, frame: int) -> None:
        """Paint time and counts, which no annotator shows, as rows in the upper left corner."""
        height = self._size_px("0")[1]
        rows = [(self._time(frame), sv.Color.WHITE)]
        for name in self._classes:
            kind = CLASSES.index(name)
            text = f"{name} {self._visible[kind, frame]} (of {self._seen[kind, frame]} so far)"
            rows.append((text, _paler(CLASS_COLOURS[name])))
        # With an opacity, the annotator copies its input, so it gets only this part of the frame.
        ground = image_bgr[: height * len(rows), : self._panel_px]
        sv.draw_filled_rectangle(
            ground, sv.Rect(0, 0, ground.shape[1], ground.shape[0]), _DARK, _PANEL_OPACITY
        )
        for number, (text, ink) in enumerate(rows):
            self._text(
                image_bgr, text, (self._size_px(text)[0] / 2, (number + 0.5) * height), None, ink
            )

    def _panel_width_px(self) -> int:
        """Return a width that is enough for every frame, so that the panel does not tremble."""
        texts = [self._time(self._video.frames - 1)]
        for name in self._classes:
            kind = CLASSES.index(name)
            visible, seen = self._visible[kind].max(initial=0), self._seen[kind].max(initial=0)
            texts.append(f"{name} {visible} (of {seen} so far)")
        return max(self._size_px(text)[0] for text in texts)

    def _time(self, frame: int) -> str:
        minutes, seconds = divmod(round(float(self._times_s[frame]), 1), 60)
        return f"{int(minutes):02d}:{seconds:04.1f}"

    def _size_px(self, text: str) -> tuple[int, int]:
        """Return width and height of a text with its padding."""
        (width, height), _ = cv2.getTextSize(
            text, cv2.FONT_HERSHEY_SIMPLEX, self._style.text_scale, self._style.text_thickness
        )
        return width + 2 * self._style.padding, height + 2 * self._style.padding

    def _text(
        self,
        image_bgr: Image,
        text: str,
        middle: Sequence[float] | npt.NDArray[np.float64],
        ground: sv.Color | None,
        ink: sv.Color = sv.Color.WHITE,
    ) -> None:
        """Write a text around a position, moved so that it is inside the frame."""
        (width, height), (right, bottom) = self._size_px(text), image_bgr.shape[1::-1]
        place = sv.Point(
            max(width / 2, min(middle[0], right - width / 2)),
            max(height / 2, min(middle[1], bottom - height / 2)),
        )
        scale, thickness, padding = (
            self._style.text_scale,
            self._style.text_thickness,
            self._style.padding,
        )
        sv.draw_text(
            image_bgr, text, place, ink, scale, thickness, padding, background_color=ground
        )


def _counts(
    tracks: TrackTable, frames: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return the boxes, the distinct tracks so far and the detected boxes of each frame.

    Each is (classes, frames). They are counted in chunks, because whole columns in 64 bits would
    take most of the memory that rendering a long recording needs.
    """
    visible, certain = (np.zeros((len(CLASSES), frames), np.int32) for _ in range(2))
    first = np.full(int(tracks.track_id.max(initial=0)) + 1, frames, np.int32)
    class_of = np.zeros(len(first), np.int8)
    for start in range(0, len(tracks), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        frame, kind, track_id = tracks.frame[rows], tracks.class_index[rows], tracks.track_id[rows]
        np.add.at(visible, (kind, frame), 1)
        np.add.at(certain, (kind, frame), ~tracks.interpolated[rows])
        np.minimum.at(first, track_id, frame)
        class_of[track_id] = kind
    began = np.zeros((len(CLASSES), frames), np.int32)
    present = first < frames
    np.add.at(began, (class_of[present], first[present]), 1)
    return visible, began.cumsum(axis=1, dtype=np.int32), certain


def _passed_until(
    found: Sequence[Crossing], lines: Sequence[Line], frames: int
) -> dict[str, npt.NDArray[np.int32]]:
    """Return per line (frames, 2) the number of crossings up to each frame, in and out."""
    passed = {line.name: np.zeros((frames, 2), np.int32) for line in lines}
    for crossing in found:
        passed[crossing.line][crossing.frame, 0 if crossing.direction == "in" else 1] += 1
    return {name: counts.cumsum(axis=0, dtype=np.int32) for name, counts in passed.items()}


def _middle_and_inwards(line: Line) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return a line's middle, and a unit vector to its `in` side.

    The `in` side is on the right, with y pointing down.
    """
    start, end = np.array(line.start), np.array(line.end)
    along = (end - start) / np.hypot(*(end - start))
    return (start + end) / 2, np.array([-along[1], along[0]])


def _paler(colour: sv.Color) -> sv.Color:
    return sv.Color(*((part + 255) // 2 for part in colour.as_rgb()))
