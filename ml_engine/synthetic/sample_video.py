"""The sample video: a herd under a hovering drone, with its exact counts.

python -m ml_engine.synthetic.sample_video --out ml_engine/samples
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from fractions import Fraction
from math import cos, pi, radians, sin
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from core.domain.classes import MusterClass
from core.errors import InvalidInput
from ml_engine.synthetic import objects as clutter
from ml_engine.synthetic.bodies import Pose, random_look
from ml_engine.synthetic.camera import Camera
from ml_engine.synthetic.degradation import tones
from ml_engine.synthetic.rendering import label_scene, render_scene
from ml_engine.synthetic.sample_truth import counts, crossings, foot_rows, turns
from ml_engine.synthetic.scene import Label, Thing
from ml_engine.synthetic.sequence import Sequence, Sway, Walker
from ml_engine.synthetic.shading import Light
from ml_engine.synthetic.terrain import make_terrain

WIDTH, HEIGHT, FPS, FRAMES, SEED = 960, 540, 25, 350, 1
EXPOSURE_SEED = 5
"""Seed of the camera's tones. Rendered light is darker than any camera records it."""
CLEAR_PX = 60
"""An animal that crosses the line ends at least this far beyond it. Other animals stay at least
`NEAR_PX` away.
"""
NEAR_PX = 14


@dataclass(frozen=True, slots=True)
class Role:
    """The movement of one animal: times, and positions in pixels of the unmoved camera."""

    species: MusterClass
    way_px: tuple[tuple[float, float], ...]
    times_s: tuple[float, ...] = (0.0,)
    pose: Pose = "standing"
    heading_deg: float = 0.0


ROLES: tuple[Role, ...] = (
    Role("bison", ((130, 110), (175, 460)), (0, 14)),
    Role("bison", ((235, 60), (275, 400)), (0.5, 14.5)),
    Role("bison", ((330, 95),), pose="grazing", heading_deg=200),
    Role("bison", ((60, 420),), pose="grazing", heading_deg=80),
    Role("bison", ((345, 430), (365, 680)), (0, 9)),
    Role("bison", ((430, 490), (425, 120)), (0, 15)),
    Role("cattle", ((515, 70),), heading_deg=20),
    Role("cattle", ((640, 95),), pose="grazing", heading_deg=20),
    Role("cattle", ((800, 70),), pose="standing", heading_deg=190),
    Role("cattle", ((890, 165),), pose="lying", heading_deg=150),
    Role("cattle", ((590, 165), (625, 440)), (0, 14)),
    Role("cattle", ((735, 480), (740, 165)), (0, 14)),
    Role("cattle", ((1070, 425), (820, 440)), (5, 13), heading_deg=180),
    Role("cattle", ((870, 330), (1080, 325)), (0, 6)),
    Role("cattle", ((515, 490),), pose="grazing", heading_deg=-40),
    Role("person", ((505, 175), (500, 400)), (0, 12), heading_deg=-90),
    Role("person", ((712, -70), (714, 62)), (2, 7), heading_deg=-90),
)

THINGS: tuple[tuple[str, tuple[float, float], float], ...] = (
    ("bush", (20, 45), 1.2),
    ("bush", (405, 25), 1.0),
    ("bush", (935, 40), 1.2),
    ("rock", (680, 370), 0.8),
    ("rock", (40, 250), 1.0),
    ("trough", (830, 245), 1.0),
    ("dung", (560, 330), 1.0),
)


def _camera() -> Camera:
    focal = WIDTH / 2 / np.tan(radians(30))
    return Camera(WIDTH, HEIGHT, 16.0, 58.0, float(focal), float(focal))


def _ground(camera: Camera, points: tuple[tuple[float, float], ...]) -> npt.NDArray[np.float64]:
    xs, ys = np.array(points, float).T
    x, y, _ = camera.ground_at(xs, ys)
    return np.stack([x, y], axis=1)


def sample_sequence(seed: int = SEED) -> Sequence:
    """Return the video of a seed, which decides the appearance only; the roles are fixed."""
    rng = np.random.default_rng(seed)
    camera = _camera()
    walkers = []
    for number, role in enumerate(ROLES):
        look = random_look(rng, role.species)
        while look.scale < 0.7:
            look = random_look(rng, role.species)
        walkers.append(
            Walker(
                number,
                look,
                np.array(role.times_s, float),
                _ground(camera, role.way_px),
                radians(role.heading_deg),
                role.pose,
            )
        )
    things = []
    for name, place, scale in THINGS:
        parts, coat = clutter.THINGS[name][0](rng)
        x, y = _ground(camera, (place,))[0]
        things.append(Thing(parts, coat, float(x), float(y), float(rng.uniform(0, 2 * pi)), scale))
    terrain = make_terrain(rng, "grass", 1024)
    height = radians(52)
    sun = np.array([cos(2.4) * cos(height), sin(2.4) * cos(height), sin(height)])
    light = Light(sun, 0.5, 0.7, 0.5, 0.8, (0.96, 0.98, 1.0))
    return Sequence(
        camera, Sway(0.08, 0.08, 0.1), terrain, light, tuple(walkers), tuple(things), FRAMES, FPS
    )


def check(frames: list[list[Label]]) -> None:
    """Raise `InvalidInput` unless the video can be counted without doubt.

    Near crossings, returns and hidden animals are refused.
    """
    line = HEIGHT / 2
    for identity, (species, rows) in foot_rows(frames).items():
        ends = (rows[0] - line, rows[-1] - line)
        crosses = ends[0] * ends[1] < 0
        if crosses and (abs(ends[1]) < CLEAR_PX or abs(ends[0]) < NEAR_PX):
            raise InvalidInput(
                f"{species} {identity} crosses the line but ends {ends[1]:.0f} px from it.",
                code="sample_unclear",
            )
        if len(turns(rows, line)) > 1:
            raise InvalidInput(
                f"{species} {identity} crosses the line more than once.", code="sample_unclear"
            )
        if not crosses and min(abs(r - line) for r in rows) < NEAR_PX:
            raise InvalidInput(
                f"{species} {identity} comes too near to the line.", code="sample_unclear"
            )
        seen = [
            any(x.identity == identity and x.inside >= 0.5 for x in labels) for labels in frames
        ]
        if sum(a != b for a, b in zip(seen, seen[1:], strict=False)) > 1:
            raise InvalidInput(f"{species} {identity} comes back.", code="sample_unclear")
        hidden = min(
            (
                x.visible
                for labels in frames
                for x in labels
                if x.identity == identity and x.inside > 0.999
            ),
            default=1.0,
        )
        if hidden < 0.8:
            raise InvalidInput(
                f"Too much of {species} {identity} is hidden ({hidden:.2f} left).",
                code="sample_unclear",
            )


def write_video(sequence: Sequence, path: Path, crf: int) -> None:
    """Render and encode a video as H.264 in MP4; one thread always gives the same bytes."""
    import av

    first = render_scene(sequence.scene(0)).bgr
    exposed = tones(np.random.default_rng(EXPOSURE_SEED), float(first.mean()) / 255, good=True)
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(sequence.fps))
        stream.width, stream.height, stream.pix_fmt = (
            sequence.camera.width,
            sequence.camera.height,
            "yuv420p",
        )
        stream.thread_count = 1
        stream.options = {
            "crf": str(crf),
            "preset": "slow",
            "g": "50",
            "keyint_min": "50",
            "sc_threshold": "0",
        }
        for number in range(sequence.frames):
            picture = np.asarray(
                cv2.LUT(render_scene(sequence.scene(number)).bgr, exposed), np.uint8
            )
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
            if number % 50 == 0:
                print(f"frame {number} of {sequence.frames}", flush=True)
        container.mux(stream.encode())


def truth_record(frames: list[list[Label]], seed: int) -> dict[str, object]:
    """Return the content of `pasture.truth.json`."""
    return {
        "frames": len(frames),
        "fps": FPS,
        "width": WIDTH,
        "height": HEIGHT,
        "seed": seed,
        "counts": counts(frames, FPS),
        "lines": {"middle": crossings(frames, HEIGHT / 2)},
    }


def main(argv: list[str] | None = None) -> int:
    """Write the sample video and its exact counts."""
    parser = argparse.ArgumentParser(
        prog="python -m ml_engine.synthetic.sample_video", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--crf", type=int, default=25)
    parser.add_argument(
        "--boxes", type=Path, help="also write every frame's boxes to this JSON file"
    )
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    sequence = sample_sequence(args.seed)
    frames = [list(label_scene(sequence.scene(i))) for i in range(sequence.frames)]
    if args.boxes:
        rows = [
            [
                [x.identity, x.species, *x.xyxy, round(x.inside, 3), round(x.visible, 3)]
                for x in labels
            ]
            for labels in frames
        ]
        args.boxes.write_text(json.dumps(rows))
    check(frames)
    record = json.dumps(truth_record(frames, args.seed), indent=2) + "\n"
    print(record)
    (args.out / "pasture.truth.json").write_text(record)
    write_video(sequence, args.out / "pasture.mp4", args.crf)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
