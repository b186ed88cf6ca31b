"""The contact sheet: everyone counted is on it, it stays small, and nothing of the video is
changed.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from core.domain.analysis import CLASSES, MusterClass
from core.domain.job import VideoFacts
from core.domain.results import ClassCounts
from ml_engine.arrays import TrackTable
from ml_engine.counting.individuals import Animal
from ml_engine.drawing import contact_sheet
from ml_engine.drawing.contact_sheet import ContactSheet
from ml_engine.drawing.contact_sheet_cells import DOUBT_RGB, clock, fitted, font, wrapped
from ml_engine.drawing.crops import Box, crop_region, picture_of
from ml_engine.drawing.frame_painter import CLASS_COLOURS

VIDEO = VideoFacts(frames=100, fps=10.0, width_px=640, height_px=480, duration_s=10.0)
Image = npt.NDArray[np.uint8]


def animal(
    number: int,
    *,
    name: MusterClass = "cattle",
    frame: int = 0,
    xyxy: Box = (300, 200, 340, 230),
    reason: str = "",
) -> Animal:
    return Animal(
        muster_class=name, number=number, track_id=number + 1000 * CLASSES.index(name), first_frame=0, last_frame=99, first_time_s=0.0,
        last_time_s=9.9, boxes=100, mean_score=0.8, best_frame=frame, best_time_s=frame / 10, best_xyxy=xyxy, uncertain=bool(reason),
        reason=reason,
    )  # fmt: skip


def in_frame(frame: int, everyone: list[Animal]) -> TrackTable:
    return TrackTable(
        frame=np.full(len(everyone), frame, np.int32),
        track_id=np.array([a.track_id for a in everyone], np.int32),
        class_index=np.array([CLASSES.index(a.muster_class) for a in everyone], np.int8),
        xyxy=np.array([a.best_xyxy for a in everyone], np.float32).reshape(-1, 4),
        score=np.full(len(everyone), 0.8, np.float32),
        interpolated=np.zeros(len(everyone), bool),
        ground=np.full((len(everyone), 2), np.nan),
        ground_error_m=np.full(len(everyone), np.nan),
    )


def counted(unique: int, low: int, high: int) -> ClassCounts:
    return ClassCounts(unique=unique, low=low, high=high, peak=0, mean=0.0)


def sheet_of(
    everyone: list[Animal],
    counts: dict[str, ClassCounts] | None = None,
    tracks: TrackTable | None = None,
) -> ContactSheet:
    return ContactSheet(everyone, counts or {}, tracks or in_frame(0, []), 0, VIDEO)


def opened(data: bytes) -> Image:
    """Return a JPEG as RGB."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def share_of(image: Image, colour: tuple[int, int, int]) -> float:
    return float((np.abs(image.astype(int) - colour).max(axis=2) < 40).mean())


def test_every_animal_is_shown_out_of_its_frame_and_the_frame_is_left_as_it_was() -> None:
    hues = [(250, 30, 30), (30, 250, 250), (250, 30, 250)]
    everyone = [animal(n + 1, frame=n) for n in range(3)]
    sheet = sheet_of(everyone)
    for frame, hue in enumerate(hues):
        image = np.full((480, 640, 3), hue[::-1], np.uint8)
        sheet.take(frame, image)
        assert (image == hue[::-1]).all()
    sheet.take(3, np.zeros((480, 640, 3), np.uint8))
    sheet.take(4, None)
    image = opened(sheet.jpeg())
    shares = [share_of(image, hue) for hue in hues]
    assert min(shares) > 0.03 and max(shares) < 1.2 * min(shares)


def test_the_same_pictures_give_the_same_bytes_in_any_order() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (480, 640, 3)).astype(np.uint8)
    everyone = [animal(n, frame=n % 3, reason="" if n % 4 else "cut") for n in range(1, 9)]
    sheets = [sheet_of(everyone, tracks=in_frame(0, everyone)) for _ in range(2)]
    for sheet, frames in zip(sheets, ((0, 1, 2), (2, 0, 1)), strict=True):
        for frame in frames:
            sheet.take(frame, noise)
    assert sheets[0].jpeg() == sheets[1].jpeg()


def test_the_uncertain_stand_out() -> None:
    certain, doubted = (
        [animal(1, reason=reason), animal(2)] for reason in ("", "joined over a gap of 2.1 s")
    )
    without, with_mark = (
        share_of(opened(sheet_of(everyone).jpeg()), DOUBT_RGB) for everyone in (certain, doubted)
    )
    assert without == 0 and with_mark > 0.002


def test_a_class_that_may_be_there_has_a_heading_and_one_that_is_not_has_none() -> None:
    sheet = sheet_of(
        [], {"bison": counted(0, 0, 0), "cattle": counted(0, 0, 2), "person": counted(0, 0, 0)}
    )
    image = opened(sheet.jpeg())
    assert share_of(image, CLASS_COLOURS["cattle"].as_rgb()) > 0.2
    assert (
        share_of(image, CLASS_COLOURS["bison"].as_rgb())
        == share_of(image, CLASS_COLOURS["person"].as_rgb())
        == 0
    )
    assert opened(sheet_of([]).jpeg()).shape[1] == 1440


@pytest.mark.parametrize(
    ("tracked", "shown", "unique", "uncertain", "note"),
    [
        (28, 28, 28, 0, "28 pictures"),
        (1, 1, 1, 1, "1 picture, 1 uncertain"),
        (
            30,
            30,
            28,
            3,
            "30 pictures for 28 counted: 2 of them probably show an animal twice, 3 uncertain",
        ),
        (28, 28, 27, 0, "28 pictures for 27 counted: 1 of them probably shows an animal twice"),
        (26, 26, 28, 0, "26 pictures for 28 counted: 2 more are estimated"),
        (1200, 1000, 1200, 0, "1000 of 1200 pictures"),
    ],
)
def test_the_note_compares_pictures_with_the_count(
    tracked: int, shown: int, unique: int, uncertain: int, note: str
) -> None:
    assert contact_sheet._note(tracked, shown, unique, uncertain) == note


@pytest.mark.parametrize(
    ("number", "widest", "tallest"),
    [(1, 1440, 1200), (28, 1440, 2160), (60, 1440, 2700), (500, 2700, 6000), (3000, 2700, 12000)],
)
def test_size_and_memory_stay_bounded(number: int, widest: int, tallest: int) -> None:
    sheet = sheet_of(
        [
            animal(n + 1, frame=n % 100, reason="too far to be sure of" if n >= 2999 else "")
            for n in range(number)
        ]
    )
    grey = np.full((480, 640, 3), 90, np.uint8)
    for frame in range(100):
        sheet.take(frame, grey)
    assert len(sheet._pictures) == min(number, contact_sheet.MOST_SHOWN)
    assert sum(picture.nbytes for picture in sheet._pictures.values()) < 80_000_000
    height, width, _ = opened(sheet.jpeg()).shape
    assert width <= widest and height <= tallest
    if number == 3000:
        assert 4000 in sheet._pictures, "the one that is uncertain is shown, whatever its number"


def test_a_frame_with_several_is_shown_whole_with_numbers() -> None:
    everyone = [animal(n, xyxy=(100.0 * n, 200, 100.0 * n + 40, 240)) for n in range(1, 5)]
    alone, together = (
        sheet_of(everyone, tracks=in_frame(0, everyone[:1])),
        sheet_of(everyone, tracks=in_frame(0, everyone)),
    )
    for sheet in (alone, together):
        sheet.take(0, np.full((480, 640, 3), (60, 160, 60), np.uint8))
    small, large = opened(alone.jpeg()), opened(together.jpeg())
    assert large.shape[0] - small.shape[0] > 1000
    assert share_of(large[small.shape[0] + 100 :], (60, 160, 60)) > 0.8


def test_who_was_not_counted_has_no_number_and_boxes_may_leave_the_frame() -> None:
    everyone = [animal(1, xyxy=(-20, -20, 40, 30)), animal(2, xyxy=(600, 460, 700, 500))]
    tracks = in_frame(0, [*everyone, animal(9)])
    sheet = sheet_of(everyone, tracks=tracks)
    assert [a.number for a, _ in sheet._present] == [1, 2]
    sheet.take(0, np.zeros((480, 640, 3), np.uint8))
    assert opened(sheet.jpeg()).shape[1] == 1440


def test_a_picture_that_never_came_is_said_to_be_missing() -> None:
    assert share_of(opened(sheet_of([animal(1)]).jpeg()), (215, 215, 212)) > 0.1


@pytest.mark.parametrize(
    ("xyxy", "aspect", "region"),
    [
        pytest.param((300, 200, 400, 260), 4 / 3, (255, 159, 445, 301), id="in the middle"),
        pytest.param((0, 0, 100, 75), 4 / 3, (0, 0, 190, 142), id="in a corner"),
        pytest.param(
            (630, 470, 640, 480), 1.0, (592, 432, 640, 480), id="tiny: not enlarged into mush"
        ),
        pytest.param(
            (100, 20, 250, 470), 0.75, (0, 0, 360, 480), id="less margin where there is no room"
        ),
        pytest.param((0, 0, 640, 480), 0.75, (0, 0, 640, 480), id="too wide for its aspect"),
        pytest.param((320, 240, 320, 240), 4 / 3, (296, 222, 344, 258), id="no area"),
    ],
)
def test_crop_region(xyxy: Box, aspect: float, region: tuple[int, ...]) -> None:
    assert crop_region(xyxy, (640, 480), aspect) == region


@pytest.mark.parametrize(
    "xyxy", [(-50.0, -50.0, 700.0, 500.0), (639.9, 479.9, 640.0, 480.0), (10.0, 10.0, 10.0, 10.0)]
)
def test_any_box_gives_a_picture(xyxy: tuple[float, float, float, float]) -> None:
    picture = picture_of(np.full((480, 640, 3), 200, np.uint8), xyxy, (160, 120), (0, 0, 255))
    assert picture.shape == (120, 160, 3) and picture.dtype == np.uint8


def test_what_lies_outside_the_box_is_dimmed() -> None:
    picture = picture_of(
        np.full((480, 640, 3), 200, np.uint8), (300, 200, 400, 260), (190, 142), (0, 0, 255)
    )
    assert picture[71, 95].tolist() == [200, 200, 200]
    assert picture[5, 5].tolist() == [120, 120, 120]
    assert (picture == (0, 0, 255)).all(axis=2).any()


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0, "0:00.0"), (12.34, "0:12.3"), (59.96, "1:00.0"), (3599.9, "59:59.9"), (7325.5, "2:02:05")],
)
def test_clock(time_s: float, text: str) -> None:
    assert clock(time_s) == text


def test_texts_are_made_to_fit() -> None:
    long = "joined over a gap of 4.2 s, 3 sizes away, in a herd that was turning round behind the trees"
    lines = wrapped(long, 200, 16)
    assert len(lines) == 2 and lines[1].endswith("...")
    assert max(font(16).getlength(line) for line in lines) <= 200
    assert wrapped("short", 200, 16) == ["short"] and wrapped("", 200, 16) == []
    assert fitted("abc", 1000, 16) == "abc"
    assert wrapped("unbreakable" * 9, 100, 16)[0].endswith("...")


def test_a_long_recording_shows_hours() -> None:
    late = replace(animal(1), first_time_s=4000.0, last_time_s=9000.0, best_time_s=7325.0)
    assert opened(sheet_of([late]).jpeg()).shape[1] == 1440
