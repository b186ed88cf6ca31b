"""Camera motion on pictures made for it: a meadow of noise under a known camera, with and without
animals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import cv2
import numpy as np
import pytest

from ml_engine.camera_motion.measure import MotionMeter, motion_between, small_grey

WIDTH, HEIGHT = 640, 360
CORNERS = np.array([[0, 0], [WIDTH, 0], [0, HEIGHT], [WIDTH, HEIGHT]], float)
MIDDLE = np.array([[1, 0, WIDTH / 2], [0, 1, HEIGHT / 2], [0, 0, 1.0]])
Path3 = Callable[[int], np.ndarray]


@cache
def meadow(seed: int, contrast: float = 30.0, size: int = 1600) -> np.ndarray:
    """Noise of all scales, as grass and bushes are, (size, size) float32."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size, size), np.float32)
    for octave in range(1, 7):
        side = size >> octave
        total += cv2.resize(
            rng.normal(0, 1, (side, side)).astype(np.float32),
            (size, size),
            interpolation=cv2.INTER_CUBIC,
        )
    return 110 + contrast * total / total.std()


def shift(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def turn(degrees: float, zoom: float = 1.0) -> np.ndarray:
    """Roll and zoom about the picture's middle."""
    c, s = zoom * np.cos(np.radians(degrees)), zoom * np.sin(np.radians(degrees))
    return MIDDLE @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.linalg.inv(MIDDLE)


def swing(degrees: float) -> np.ndarray:
    """A camera of 60 degrees' width that turns to the right."""
    intrinsic = np.array([[554.0, 0, 320], [0, 554, 180], [0, 0, 1]])
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    total = intrinsic @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]) @ np.linalg.inv(intrinsic)
    return total / total[2, 2]


class Herd:
    """Textured rectangles that go their own ways over the picture; `share` of it is covered at the
    start.
    """

    def __init__(
        self, count: int, size_px: int, *, speed_px: float, together: bool = False, seed: int = 5
    ) -> None:
        rng = np.random.default_rng(seed)
        self.coats = [
            meadow(100 + number, 45.0, 256)[:size_px, :size_px] for number in range(count)
        ]
        columns = int(np.ceil(np.sqrt(count * WIDTH / HEIGHT)))
        cells = np.array([[n % columns, n // columns] for n in range(count)], float)
        self.start = cells * size_px * 1.02 + (60, 40)
        angle = np.full(count, 0.3) if together else rng.uniform(0, 2 * np.pi, count)
        self.velocity = speed_px * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def paint(self, picture: np.ndarray, frame: int, camera: np.ndarray) -> None:
        for coat, start, velocity in zip(self.coats, self.start, self.velocity, strict=True):
            x, y = start + velocity * frame
            place = camera @ shift(x, y)
            size = (picture.shape[1], picture.shape[0])
            mask = cv2.warpPerspective(np.ones_like(coat), place, size)[..., None]
            picture[:] = (
                picture * (1 - mask) + cv2.warpPerspective(coat, place, size)[..., None] * mask
            )


def film(
    country: np.ndarray, camera: Path3, frames: int, *, herd: Herd | None = None, noise: float = 1.5
) -> list[np.ndarray]:
    """Return (360, 640, 3) pictures; `camera` gives, per frame, the transform from frame 0's pixels
    to its own.
    """
    rng = np.random.default_rng(9)
    pictures = []
    for frame in range(frames):
        place = camera(frame) @ shift(-480, -600)
        picture = np.repeat(
            cv2.warpPerspective(country, place, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)[..., None],
            3,
            axis=2,
        )
        if herd is not None:
            herd.paint(picture, frame, camera(frame))
        pictures.append(
            np.clip(picture + rng.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)
        )
    return pictures


def measured(pictures: Sequence[np.ndarray | None]) -> list[tuple[np.ndarray | None, str | None]]:
    meter = MotionMeter((WIDTH, HEIGHT))
    return [meter.measure(None if picture is None else small_grey(picture)) for picture in pictures]


def project(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    mapped = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ transform.T
    return mapped[:, :2] / mapped[:, 2:]


def errors_px(
    results: Sequence[tuple[np.ndarray | None, str | None]], camera: Path3
) -> tuple[float, float]:
    """Return the largest error of a corner from frame to frame, and over the whole chain."""
    total = np.eye(3)
    step_errors, chain_errors = [0.0], [0.0]
    for frame, (motion, reason) in enumerate(results[1:], start=1):
        assert motion is not None and reason is None, (frame, reason)
        total = motion @ total
        true_step = camera(frame) @ np.linalg.inv(camera(frame - 1))
        step_errors.append(np.abs(project(motion, CORNERS) - project(true_step, CORNERS)).max())
        chain_errors.append(np.abs(project(total, CORNERS) - project(camera(frame), CORNERS)).max())
    return max(step_errors), max(chain_errors)


CAMERAS: dict[str, Path3] = {
    "pan": lambda n: shift(-3.3 * n, 1.1 * n),
    "slow pan": lambda n: shift(-0.05 * n, 0),
    "jerk": lambda n: shift(-35.0 * (n >= 10), 20.0 * (n >= 20)),
    "fast pan": lambda n: shift(-25.0 * n, 0),
    "roll and zoom": lambda n: turn(0.5 * n, 1.004**n),
    "turn": lambda n: swing(0.4 * n),
    "shake": lambda n: shift(4 * np.sin(n * 1.7), 3 * np.sin(n * 2.3)) @ turn(0.3 * np.sin(n)),
}


@pytest.mark.parametrize(
    ("name", "step_px", "chain_px"),
    [
        ("pan", 0.4, 0.4),
        ("slow pan", 0.5, 0.5),
        ("jerk", 0.1, 0.1),
        ("fast pan", 0.1, 0.1),
        ("roll and zoom", 0.8, 3.0),
        ("turn", 1.0, 5.0),
        ("shake", 0.4, 0.4),
    ],
)
def test_a_moving_camera_is_followed(name: str, step_px: float, chain_px: float) -> None:
    camera = CAMERAS[name]
    step, chain = errors_px(
        measured(film(meadow(1), camera, 25 if name == "fast pan" else 40)), camera
    )
    assert step <= step_px
    assert chain <= chain_px


@pytest.mark.parametrize(
    ("name", "end_px"),
    [
        ("pan", 1.0),
        ("slow pan", 1.0),
        ("jerk", 0.5),
        ("fast pan", 0.5),
        ("roll and zoom", 1.5),
        ("shake", 1.0),
    ],
)
def test_a_moving_camera_is_followed_behind_a_herd_that_fills_half_of_the_frame(
    name: str, end_px: float
) -> None:
    """A herd looks like a part of the country until it has moved by more than a pixel: the first
    frames may be off, the chain is not.
    """
    camera, count = CAMERAS[name], 25 if name == "fast pan" else 40
    results = measured(film(meadow(1), camera, count, herd=Herd(18, 82, speed_px=1.5)))
    total = np.eye(3)
    for frame, (motion, _) in enumerate(results[1:], start=1):
        assert motion is not None
        total = motion @ total
        if frame >= 10:
            assert np.abs(project(total, CORNERS) - project(camera(frame), CORNERS)).max() <= end_px


@pytest.mark.parametrize(
    "herd",
    [
        None,
        Herd(18, 82, speed_px=1.0),
        Herd(18, 82, speed_px=0.1),
        Herd(6, 110, speed_px=2.0, together=True),
    ],
    ids=["empty", "milling", "grazing", "on the move"],
)
def test_a_still_camera_is_exactly_still(herd: Herd | None) -> None:
    results = measured(film(meadow(2), lambda _: np.eye(3), 40, herd=herd))
    assert all(
        motion is not None and np.array_equal(motion, np.eye(3)) for motion, _ in results[1:]
    )


def test_empty_grass_of_little_contrast_is_enough() -> None:
    camera: Path3 = lambda n: shift(-2.0 * n, 0.5 * n)  # noqa: E731
    step, chain = errors_px(measured(film(meadow(3, contrast=5.0), camera, 40, noise=1.0)), camera)
    assert step <= 0.6 and chain <= 2.0


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_without_texture_there_is_none(level: int, noise: float) -> None:
    rng = np.random.default_rng(3)
    flat = [
        np.clip(rng.normal(level, noise, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)
        for _ in range(4)
    ]
    assert [reason for _, reason in measured(flat)] == [
        "first_frame",
        "no_texture",
        "no_texture",
        "no_texture",
    ]


def test_cuts_are_seen() -> None:
    scenes = [film(meadow(seed), lambda n: shift(-2.0 * n, 0), 6) for seed in range(10, 22)]
    results = measured([picture for scene in scenes for picture in scene])
    reasons = [reason for _, reason in results]
    assert reasons == ["first_frame", *[None] * 5, *["cut", *[None] * 5] * 11]


def test_a_cut_under_a_burnt_in_display_is_seen() -> None:
    scenes = [film(meadow(seed), lambda n: np.eye(3), 3) for seed in (30, 31)]
    pictures = [picture for scene in scenes for picture in scene]
    for picture in pictures:
        for row in range(3):
            cv2.putText(
                picture,
                "ALT 48.2 m  H 214  N 51.3 W 0.4",
                (20, 30 + 18 * row),
                cv2.FONT_HERSHEY_SIMPLEX,
                0.5,
                (255,) * 3,
                1,
            )
    assert [reason for _, reason in measured(pictures)] == [
        "first_frame",
        None,
        None,
        "cut",
        None,
        None,
    ]


def test_unreadable_frames_are_passed_over() -> None:
    pictures: list[np.ndarray | None] = list(film(meadow(4), lambda n: shift(-3.0 * n, 0), 10))
    pictures[4] = pictures[5] = None
    results = measured([None, *pictures])
    assert [reason for _, reason in results[:3]] == ["unreadable", "first_frame", None]
    assert [reason for _, reason in results[5:8]] == ["unreadable", "unreadable", None]
    motion = results[7][0]
    assert motion is not None and motion[0, 2] == pytest.approx(-9, abs=0.3)


def test_motion_is_in_pixels_of_the_whole_frame() -> None:
    large = [
        np.asarray(cv2.resize(picture, (1920, 1080)), np.uint8)
        for picture in film(meadow(6), lambda n: turn(1.0 * n, 1.01**n), 2)
    ]
    motion, _ = motion_between(small_grey(large[0]), small_grey(large[1]), (1920, 1080))
    assert motion is not None
    triple = np.diag([3.0, 3.0, 1.0])
    true = triple @ turn(1.0, 1.01) @ np.linalg.inv(triple)
    assert np.abs(project(motion, 3 * CORNERS) - project(true, 3 * CORNERS)).max() < 1.5
    assert motion[2].tolist() == [0, 0, 1]


@pytest.mark.parametrize("shape", [(4, 4), (31, 400), (1, 1), (400, 20)])
def test_tiny_pictures_have_no_texture(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 255, (*shape, 3)).astype(np.uint8)
    grey = small_grey(picture)
    assert motion_between(grey, grey, (shape[1], shape[0])) == (None, "no_texture")


def test_pictures_of_different_size_are_a_cut() -> None:
    picture = film(meadow(7), lambda n: np.eye(3), 1)[0]
    assert motion_between(small_grey(picture), small_grey(picture[:300]), (WIDTH, HEIGHT)) == (
        None,
        "cut",
    )


def test_portrait_pictures() -> None:
    turned = [
        np.ascontiguousarray(np.rot90(picture))
        for picture in film(meadow(8), lambda n: shift(-4.0 * n, 0), 2)
    ]
    motion, _ = motion_between(small_grey(turned[0]), small_grey(turned[1]), (HEIGHT, WIDTH))
    assert motion is not None
    assert motion[:2, 2] == pytest.approx([0, 4], abs=0.2)


def test_the_same_pictures_give_the_same_numbers() -> None:
    pictures = film(meadow(9), lambda n: swing(0.3 * n), 15, herd=Herd(10, 70, speed_px=2.0))
    one, other = measured(pictures), measured(pictures)
    assert all(
        a is None or a.tobytes() == b.tobytes()
        for (a, _), (b, _) in zip(one, other, strict=True)
        if b is not None
    )
