"""Cells of the contact sheet: headings, numbers, times, bars and reasons around the pictures."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ml_engine.counting.individuals import Animal
from ml_engine.drawing.crops import EMPTY_RGB, Box

if TYPE_CHECKING:
    from PIL import ImageDraw

Colour = tuple[int, int, int]

GAP_PX, BAR_PX = 14, 7
HEADING_PX, NOTE_PX, LEGEND_PX = 46, 38, 20
REASON_LINES = 2
GROUND_RGB, INK_RGB, FAINT_INK_RGB, DARK_RGB = (
    (250, 250, 248),
    (25, 25, 25),
    (105, 105, 105),
    (60, 60, 60),
)
DOUBT_RGB = (255, 196, 0)
"""Colour of uncertain animals, which no class has."""
LEGEND = (
    "Bar: when the animal was visible; animals whose bars overlap were visible together.   "
    "#: track number in annotated.mp4 and tracks.csv.   ?: uncertain, please check."
)
_WHITE = (255, 255, 255)
_BOLD = 0.6


class Cell(NamedTuple):
    """Position of a picture and size of the text below it, px."""

    x: int
    y: int
    width: int
    height: int
    text: int


def caption_height(text: int) -> int:
    """Return the height of bar and time below a picture, px."""
    return text + BAR_PX + 10


def reason_height(text: int) -> int:
    """Return the height of a reason below a picture, px."""
    return REASON_LINES * round(text * 1.1)


def paint_line(draw: ImageDraw.ImageDraw, line: str, width: int, y: int) -> int:
    """Paint a line over the whole sheet, starting at `y`; return where it ends."""
    draw.text((GAP_PX + 2, y), fitted(line, width - 2 * GAP_PX, 22), INK_RGB, font(22))
    return y + NOTE_PX


def paint_heading(
    draw: ImageDraw.ImageDraw, title: str, note: str, colour: Colour, width: int, y: int
) -> int:
    """Paint a title on a bar and a line below it, starting at `y`; return where they end."""
    draw.rectangle((GAP_PX, y, width - GAP_PX - 1, y + HEADING_PX - 1), fill=colour)
    draw.text(
        (GAP_PX + 12, y + HEADING_PX // 2),
        fitted(title, width - 4 * GAP_PX, 34),
        _WHITE,
        font(34),
        anchor="lm",
        stroke_width=_BOLD,
    )
    draw.text(
        (GAP_PX + 2, y + HEADING_PX + 5),
        fitted(note, width - 2 * GAP_PX, 20),
        FAINT_INK_RGB,
        font(20),
    )
    return y + HEADING_PX + NOTE_PX


def paint_cell(
    draw: ImageDraw.ImageDraw,
    animal: Animal,
    cell: Cell,
    colour: Colour,
    duration_s: float,
    *,
    pictured: bool,
) -> None:
    """Paint number, bar, time, track and reason of an animal over and below its picture.

    Args:
        draw: The sheet.
        animal: The animal.
        cell: Position of the picture.
        colour: Colour of its class.
        duration_s: Length of the recording, which is the length of the bar.
        pictured: Whether the video gave a picture.
    """
    x, y, width, height, text = cell
    right, bottom = x + width, y + height
    if not pictured:
        draw.rectangle((x, y, right - 1, bottom - 1), fill=EMPTY_RGB)
        draw.text(
            ((x + right) / 2, (y + bottom) / 2), "no picture", INK_RGB, font(text), anchor="mm"
        )
    if animal.uncertain:
        _dashed_border(draw, (x, y, right - 1, bottom - 1), max(4, width // 50))
    paint_number(draw, (x, y), animal, colour, round(text * 1.45))
    y = bottom + 4
    draw.rectangle((x, y, right - 1, y + BAR_PX - 1), fill=EMPTY_RGB)
    begin, end = (
        x + (width - 1) * min(1.0, t / max(duration_s, 1e-9))
        for t in (animal.first_time_s, animal.last_time_s)
    )
    draw.rectangle(
        (
            math.floor(begin),
            y,
            min(right - 1, max(math.ceil(end), math.floor(begin) + 2)),
            y + BAR_PX - 1,
        ),
        fill=colour,
    )
    y += BAR_PX + 2
    draw.text((x, y), clock(animal.best_time_s), INK_RGB, font(text))
    draw.text((right, y), f"#{animal.track_id}", FAINT_INK_RGB, font(text), anchor="ra")
    small = max(12, round(text * 0.85))
    for number, line in enumerate(wrapped(animal.reason, width, small)):
        draw.text((x, y + text + 4 + number * round(text * 1.1)), line, INK_RGB, font(small))


def _label(animal: Animal) -> str:
    return f"{animal.number}?" if animal.uncertain else str(animal.number)


def number_size(animal: Animal, size: int) -> tuple[int, int]:
    """Return width and height of an animal's number with its box, px, for a font size."""
    return math.ceil(font(size).getlength(_label(animal))) + size // 2 + 2, round(size * 1.18)


def _shared_px(a: Box, b: Box) -> float:
    """Return the area, px, that two boxes (x, y, width, height) share."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)


def paint_number(
    draw: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    animal: Animal,
    colour: Colour,
    size: int,
) -> None:
    """Paint an animal's number in a box with its upper left corner at `corner`.

    The number of an uncertain animal has a question mark.
    """
    label, (width, height) = _label(animal), number_size(animal, size)
    x, y = math.floor(corner[0]), math.floor(corner[1])
    draw.rectangle(
        (x, y, x + width - 1, y + height - 1), fill=DOUBT_RGB if animal.uncertain else colour
    )
    ink = INK_RGB if animal.uncertain else _WHITE
    draw.text(
        (x + width / 2, y + height / 2), label, ink, font(size), anchor="mm", stroke_width=_BOLD
    )


def paint_numbers(
    draw: ImageDraw.ImageDraw,
    present: Sequence[tuple[Animal, Box, Colour]],
    frame: Box,
    scale: float,
) -> None:
    """Paint boxes and numbers into a whole frame.

    Args:
        draw: The sheet.
        present: The animals in the frame, their boxes in px of the video, the colours of their
            classes.
        frame: Position of the frame on the sheet, px.
        scale: Scale of the frame on the sheet relative to the video.
    """
    left, top, right, bottom = frame
    size = 22 if len(present) <= 40 else 16 if len(present) <= 120 else 12
    places = []
    for animal, (x1, y1, x2, y2), colour in present:
        x1, x2 = (min(max(left + x * scale, left), right) for x in (x1, x2))
        y1, y2 = (min(max(top + y * scale, top), bottom) for y in (y1, y2))
        draw.rectangle((x1, y1, max(x2, x1), max(y2, y1)), outline=colour, width=2)
        width, height = number_size(animal, size)
        across, down = (
            (x1, (x1 + x2 - width) / 2, x2 - width),
            (y1, y2 - height, (y1 + y2 - height) / 2),
        )
        places.append(
            [
                (min(max(x, left), right - width), min(max(y, top), bottom - height), width, height)
                for y in down
                for x in across
            ]
        )
    taken: list[Box] = []
    for (animal, _, colour), choices in zip(present, places, strict=True):
        taken.append(
            min(choices, key=lambda place: sum(_shared_px(place, other) for other in taken))
        )
        paint_number(draw, taken[-1][:2], animal, colour, size)


def _dashed_border(
    draw: ImageDraw.ImageDraw, xyxy: tuple[int, int, int, int], thickness: int
) -> None:
    """Draw a dashed border inside a rectangle."""
    x1, y1, x2, y2 = xyxy
    dash = 4 * thickness
    for index, start in enumerate(range(x1, x2, dash)):
        fill, end = (DARK_RGB if index % 2 else DOUBT_RGB), min(start + dash - 1, x2)
        draw.rectangle((start, y1, end, y1 + thickness - 1), fill=fill)
        draw.rectangle((start, y2 - thickness + 1, end, y2), fill=fill)
    for index, start in enumerate(range(y1, y2, dash)):
        fill, end = (DARK_RGB if index % 2 else DOUBT_RGB), min(start + dash - 1, y2)
        draw.rectangle((x1, start, x1 + thickness - 1, end), fill=fill)
        draw.rectangle((x2 - thickness + 1, start, x2, end), fill=fill)


def clock(time_s: float) -> str:
    """Return a time as `m:ss.t`, or as `h:mm:ss` if it is an hour or more."""
    tenths = round(time_s * 10)
    minutes, rest = divmod(tenths, 600)
    if minutes >= 60:
        return f"{minutes // 60}:{minutes % 60:02d}:{rest // 10:02d}"
    return f"{minutes}:{rest // 10:02d}.{rest % 10}"


@functools.cache
def font(size: int) -> Any:
    """Return Pillow's own font, the same on every machine. It has no dashes and no ellipsis."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


def fitted(text: str, width: int, size: int) -> str:
    """Return a text shortened to a width in px."""
    if font(size).getlength(text) <= width:
        return text
    while text and font(size).getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."


def wrapped(text: str, width: int, size: int) -> list[str]:
    """Return a text as at most `REASON_LINES` lines of a width in px."""
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < REASON_LINES - 1:
        line = words.pop(0)
        while words and font(size).getlength(f"{line} {words[0]}") <= width:
            line += " " + words.pop(0)
        lines.append(fitted(line, width, size))
    return [*lines, fitted(" ".join(words), width, size)] if words else lines
