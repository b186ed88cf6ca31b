"""The contact sheet: one image of all counted animals, for a quick check of the count."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.domain.analysis import CLASSES
from core.domain.interval import INTERVAL_NOTE
from core.domain.job import VideoFacts
from core.domain.results import ClassCounts
from ml_engine.arrays import Image, TrackTable
from ml_engine.counting.individuals import Animal
from ml_engine.drawing import contact_sheet_cells as painting
from ml_engine.drawing.contact_sheet_cells import GAP_PX, Cell
from ml_engine.drawing.crops import EMPTY_RGB, Box, picture_of, resized_rgb
from ml_engine.drawing.frame_painter import CLASS_COLOURS

if TYPE_CHECKING:
    from PIL import Image as Pillow
    from PIL import ImageDraw


MOST_SHOWN = 1000
"""Most animals on the sheet. Phones do not open larger images, and people do not read them.
Uncertain animals are first, then the others in order.
"""
NARROWEST_PX, CELL_WIDTH_PX = 1440, 150
"""Least width of the sheet and of a picture in it. The sheet gets wider before its pictures get
narrower than that.
"""
FEWEST_COLUMNS, MOST_COLUMNS = 4, 16
TALLEST = 1.5
"""Ratio of height to width of all pictures above which a column is added."""
JPEG_QUALITY = 86


class _Layout(NamedTuple):
    """Sizes in px.

    `columns` is the number of pictures in a row, `whole_wh` the size of the whole frame.
    """

    columns: int
    width: int
    cell_width: int
    cell_height: int
    text: int
    whole_wh: tuple[int, int]
    height: int


@dataclass(frozen=True, slots=True)
class _Section:
    """One class: its heading, the line below it, and the animals shown."""

    muster_class: str
    heading: str
    note: str
    shown: tuple[Animal, ...]


class ContactSheet:
    """Collects pictures while a video is decoded once, then makes the sheet.

    At the top is the condition of the ranges. Each class has a section with its count as heading
    and one picture per animal. A whole frame with several animals, if there is one, follows at the
    end. In it every counted animal has its number, so that animals that were not counted can be
    seen.

    The same input gives the same bytes. Memory holds one small picture per animal, at most
    `MOST_SHOWN`, and the whole frame.

    Args:
        animals: All counted animals.
        counts: Counts by class; the headings show `unique`, `low` and `high`.
        tracks: Rows in order of frame, then track id, for the positions in the whole frame.
        whole_frame: Index of the whole frame, ideally one with many animals.
        video: Size and length of the recording.
    """

    def __init__(
        self,
        animals: Sequence[Animal],
        counts: Mapping[str, ClassCounts],
        tracks: TrackTable,
        whole_frame: int,
        video: VideoFacts,
    ) -> None:
        self._video = video
        self._sections = _sections(animals, counts)
        shown = [animal for section in self._sections for animal in section.shown]
        self._present = _present(animals, tracks, whole_frame)
        self._layout = _layout(self._sections, _aspect(shown), video, whole=len(self._present) > 1)
        self._wanted: dict[int, list[Animal]] = {}
        for animal in shown:
            self._wanted.setdefault(animal.best_frame, []).append(animal)
        self._pictures: dict[int, Image] = {}
        self._whole_frame = whole_frame
        self._whole = np.full((*self._layout.whole_wh[::-1], 3), EMPTY_RGB, np.uint8)

    def take(self, frame: int, image_bgr: Image | None) -> None:
        """Copy the needed parts of a frame, before anything is drawn into it.

        None: the frame could not be decoded.
        """
        if image_bgr is None:
            return
        if frame == self._whole_frame and self._whole.size:
            self._whole = resized_rgb(image_bgr, self._layout.whole_wh)
        size = (self._layout.cell_width, self._layout.cell_height)
        for animal in self._wanted.get(frame, ()):
            self._pictures[animal.track_id] = picture_of(
                image_bgr, animal.best_xyxy, size, _colour(animal.muster_class)
            )

    def jpeg(self) -> bytes:
        """Return the sheet."""
        from PIL import Image as Pillow
        from PIL import ImageDraw

        canvas = Pillow.new("RGB", (self._layout.width, self._layout.height), painting.GROUND_RGB)
        draw = ImageDraw.Draw(canvas)
        y = painting.paint_line(draw, INTERVAL_NOTE, self._layout.width, GAP_PX)
        for section in self._sections:
            y = self._paint_section(canvas, draw, section, y)
        if self._whole.size:
            y = self._paint_whole(canvas, draw, y)
        legend = painting.fitted(painting.LEGEND, self._layout.width - 2 * GAP_PX, 18)
        draw.text((GAP_PX, y), legend, painting.FAINT_INK_RGB, painting.font(18))
        out = io.BytesIO()
        canvas.save(out, "JPEG", quality=JPEG_QUALITY)
        return out.getvalue()

    def _paint_section(
        self, canvas: Pillow.Image, draw: ImageDraw.ImageDraw, section: _Section, y: int
    ) -> int:
        from PIL import Image as Pillow

        layout, colour = self._layout, _colour(section.muster_class)
        y = painting.paint_heading(draw, section.heading, section.note, colour, layout.width, y)
        for row in _rows(section, layout.columns):
            for column, animal in enumerate(row):
                x = GAP_PX + column * (layout.cell_width + GAP_PX)
                picture = self._pictures.get(animal.track_id)
                if picture is not None:
                    canvas.paste(Pillow.fromarray(picture), (x, y))
                cell = Cell(x, y, layout.cell_width, layout.cell_height, layout.text)
                painting.paint_cell(
                    draw, animal, cell, colour, self._video.duration_s, pictured=picture is not None
                )
            y += _row_height(row, layout)
        return y + GAP_PX

    def _paint_whole(self, canvas: Pillow.Image, draw: ImageDraw.ImageDraw, y: int) -> int:
        from PIL import Image as Pillow

        layout = self._layout
        note = (
            f"{len(self._present)} of the animals above, in frame {self._whole_frame}. "
            "An animal without a number was not counted in this frame."
        )
        y = painting.paint_heading(draw, "Most at once", note, painting.DARK_RGB, layout.width, y)
        canvas.paste(Pillow.fromarray(self._whole), (GAP_PX, y))
        frame = (GAP_PX, y, GAP_PX + layout.whole_wh[0] - 1, y + layout.whole_wh[1] - 1)
        scale = layout.whole_wh[0] / self._video.width_px
        painting.paint_numbers(
            draw,
            [(animal, box, _colour(animal.muster_class)) for animal, box in self._present],
            frame,
            scale,
        )
        return y + layout.whole_wh[1] + GAP_PX


def _colour(muster_class: str) -> tuple[int, int, int]:
    return CLASS_COLOURS[muster_class].as_rgb()


def _present(animals: Sequence[Animal], tracks: TrackTable, frame: int) -> list[tuple[Animal, Box]]:
    """Return the animals in a frame, with their boxes."""
    known = {animal.track_id: animal for animal in animals}
    begin, end = np.searchsorted(tracks.frame, [frame, frame + 1])
    rows = range(int(begin), int(end))
    return [
        (known[i], tuple(tracks.xyxy[row].tolist()))
        for row in rows
        if (i := int(tracks.track_id[row])) in known
    ]


def _sections(animals: Sequence[Animal], counts: Mapping[str, ClassCounts]) -> list[_Section]:
    """Return a section for every class that was counted and has, or may have, animals."""
    first = sorted(range(len(animals)), key=lambda i: (not animals[i].uncertain, i))[:MOST_SHOWN]
    chosen = {animals[i].track_id for i in first}
    sections = []
    for name in CLASSES:
        mine = [animal for animal in animals if animal.muster_class == name]
        count = counts.get(name)
        unique, low, high = (
            (count.unique, count.low, count.high) if count is not None else (len(mine),) * 3
        )
        if not mine and not high:
            continue
        shown = tuple(animal for animal in mine if animal.track_id in chosen)
        heading = f"{name}: {unique} ({low} to {high} of what was detected)"
        note = _note(len(mine), len(shown), unique, sum(animal.uncertain for animal in mine))
        sections.append(_Section(name, heading, note, shown))
    return sections


def _note(tracked: int, shown: int, counted: int, uncertain: int) -> str:
    """Return how the number of pictures relates to the count."""
    parts = [_pictures(shown) if shown == tracked else f"{shown} of {_pictures(tracked)}"]
    if tracked > counted:
        more = tracked - counted
        verb = "shows" if more == 1 else "show"
        parts[0] += f" for {counted} counted: {more} of them probably {verb} an animal twice"
    elif tracked < counted:
        parts[0] += f" for {counted} counted: {counted - tracked} more are estimated"
    if uncertain:
        parts.append(f"{uncertain} uncertain")
    return ", ".join(parts)


def _pictures(number: int) -> str:
    return f"{number} picture{'' if number == 1 else 's'}"


def _aspect(shown: Sequence[Animal]) -> float:
    """Return the width to height of the pictures that suits most of the boxes."""
    ratios = [
        (a.best_xyxy[2] - a.best_xyxy[0]) / max(a.best_xyxy[3] - a.best_xyxy[1], 1e-6)
        for a in shown
    ]
    middle = float(np.median(ratios)) if ratios else 1.0
    return 4 / 3 if middle > 1.15 else 1.0 if middle > 0.75 else 3 / 4


def _layout(
    sections: Sequence[_Section], aspect: float, video: VideoFacts, *, whole: bool
) -> _Layout:
    """Return the fewest columns that keep the sheet from getting too tall.

    The layout has space for a whole frame if `whole`.
    """
    for columns in range(FEWEST_COLUMNS, MOST_COLUMNS + 1):
        width = max(NARROWEST_PX, columns * (CELL_WIDTH_PX + GAP_PX) + GAP_PX)
        cell = (width - GAP_PX) // columns - GAP_PX
        layout = _Layout(
            columns, width, cell, round(cell / aspect), min(26, max(14, cell // 11)), (0, 0), 0
        )
        rows = sum(
            _row_height(row, layout) for section in sections for row in _rows(section, columns)
        )
        if rows <= TALLEST * width:
            break
    heading = painting.HEADING_PX + painting.NOTE_PX
    height = (
        2 * GAP_PX
        + painting.NOTE_PX
        + len(sections) * (heading + GAP_PX)
        + rows
        + painting.LEGEND_PX
    )
    if not whole:
        return layout._replace(height=height)
    # An upright frame is not shown higher than a level one would be wide.
    scale = (width - 2 * GAP_PX) / max(video.width_px, video.height_px)
    whole_wh = (max(1, round(video.width_px * scale)), max(1, round(video.height_px * scale)))
    return layout._replace(whole_wh=whole_wh, height=height + heading + whole_wh[1] + GAP_PX)


def _rows(section: _Section, columns: int) -> list[tuple[Animal, ...]]:
    return [
        section.shown[start : start + columns] for start in range(0, len(section.shown), columns)
    ]


def _row_height(row: Sequence[Animal], layout: _Layout) -> int:
    reason = painting.reason_height(layout.text) if any(animal.reason for animal in row) else 0
    return layout.cell_height + painting.caption_height(layout.text) + reason + GAP_PX
