"""Random scenes: which camera, which light, who is there and where."""

from __future__ import annotations

from math import cos, pi, radians, sin, tan

import numpy as np

from ml_engine.training.animals import Pose, random_look
from ml_engine.training.camera import Camera
from ml_engine.training.clutter import random_thing
from ml_engine.training.coats import Light
from ml_engine.training.scene import SPECIES, Actor, Label, Picture, Scene, Thing
from ml_engine.training.terrain import make_terrain

BODY_M = 2.4
"""Length from which the size of animals in the picture is planned, m."""


def random_light(rng: np.random.Generator) -> Light:
    """Draw sun or cloud: an overcast sky gives a faint soft shadow underneath, a low sun a long hard one."""
    around = rng.uniform(0, 2 * pi)
    if rng.random() < 0.35:
        height = radians(rng.uniform(70, 88))
        sun = np.array([cos(around) * cos(height), sin(around) * cos(height), sin(height)])
        return Light(
            sun, float(rng.uniform(0.65, 0.85)), float(rng.uniform(0.15, 0.35)), float(rng.uniform(0.1, 0.35)), float(rng.uniform(1.5, 5))
        )
    height = radians(rng.uniform(22, 75))
    sun = np.array([cos(around) * cos(height), sin(around) * cos(height), sin(height)])
    warm = float(rng.uniform(0, 0.12))
    return Light(
        sun,
        float(rng.uniform(0.35, 0.6)),
        float(rng.uniform(0.5, 0.9)),
        float(rng.uniform(0.35, 0.7)),
        float(rng.uniform(0.3, 1.5)),
        (1 - warm, 1 - warm / 2, 1.0),
    )


def random_camera(rng: np.random.Generator, width: int, height: int) -> Camera:
    """Draw a camera: a drone looking down or ahead, or someone standing at the fence. The picture may be squeezed into its frame."""
    aspect = float(rng.choice([16 / 9, 4 / 3, 1.0, 9 / 16], p=[0.55, 0.2, 0.15, 0.1]))
    half = tan(radians(rng.uniform(20, 38)))
    focal_x, focal_y = width / 2 / half, height / 2 / half * aspect
    focal = (focal_x * focal_y) ** 0.5
    kind = rng.random()
    roll = float(rng.normal(0, 2))
    if kind < 0.7:
        pitch = float(rng.uniform(74, 90) if kind < 0.35 else rng.uniform(24, 74))
        length_px = float(np.exp(rng.uniform(np.log(0.03), np.log(0.3)))) * (width * height) ** 0.5
        distance = focal * BODY_M / length_px
        return Camera(width, height, max(distance * sin(radians(pitch)), 2.5), pitch, focal_x, focal_y, roll_deg=roll)
    return Camera(width, height, float(rng.uniform(1.4, 4.0)), float(rng.uniform(-1, 11)), focal_x, focal_y, roll_deg=roll)


def _spot(rng: np.random.Generator, camera: Camera, largest: float) -> tuple[float, float] | None:
    for _ in range(12):
        u = rng.uniform(-0.04, 1.04) * camera.width
        v = rng.uniform(-0.02, 1.06) * camera.height
        x, y, distance = camera.ground_at(np.array([u]), np.array([v]))
        if not np.isfinite(distance[0]):
            continue
        length_px = (camera.focal_x_px * camera.focal_y_px) ** 0.5 * BODY_M / float(distance[0])
        size = (camera.width * camera.height) ** 0.5
        if 0.025 * size < length_px < largest * size:
            return float(x[0]), float(y[0])
    return None


def _herd(rng: np.random.Generator, camera: Camera, snow: bool) -> list[Actor]:
    roll = rng.random()
    weights = np.array(
        [[0.85, 0.05, 0.1], [0.05, 0.85, 0.1], [0.42, 0.42, 0.16], [0.2, 0.2, 0.6]][int(rng.choice(4, p=[0.33, 0.3, 0.25, 0.12]))]
    )
    wanted = 0 if roll < 0.06 else int(np.ceil(22 * rng.random() ** 1.6))
    common = rng.uniform(0, 2 * pi) if rng.random() < 0.4 else None
    actors: list[Actor] = []
    for _ in range(wanted):
        spot = _spot(rng, camera, 0.75)
        if spot is None:
            continue
        species = SPECIES[int(rng.choice(3, p=weights))]
        apart = 0.9 if species == "person" else 1.5
        if any((a.x_m - spot[0]) ** 2 + (a.y_m - spot[1]) ** 2 < apart**2 for a in actors):
            continue
        heading = float(rng.uniform(0, 2 * pi) if common is None else common + rng.normal(0, 0.4))
        poses: tuple[Pose, ...] = ("standing", "grazing", "lying")
        pose = "standing" if species == "person" else poses[int(rng.choice(3, p=[0.5, 0.36, 0.14]))]
        walking = pose == "standing" and rng.random() < 0.55
        look = random_look(rng, species, snow)
        actors.append(Actor(len(actors), look, spot[0], spot[1], heading, pose, float(rng.uniform(0, 2 * pi)), bool(walking)))
    return actors


def random_things(rng: np.random.Generator, camera: Camera, count: int, actors: list[Actor]) -> list[Thing]:
    """Strew things over what the camera sees, not upon the animals."""
    things = []
    for _ in range(count):
        spot = _spot(rng, camera, 0.32)
        if spot is None or any((a.x_m - spot[0]) ** 2 + (a.y_m - spot[1]) ** 2 < 4 for a in actors):
            continue
        parts, coat = random_thing(rng)
        things.append(Thing(parts, coat, spot[0], spot[1], float(rng.uniform(0, 2 * pi)), float(rng.uniform(0.7, 1.4))))
    return things


def random_scene(seed: int, width: int = 416, height: int = 416) -> Scene:
    """Draw a whole scene from a seed.

    Args:
        seed: The same seed gives the same scene.
        width: Picture width, px.
        height: Picture height, px.
    """
    rng = np.random.default_rng(seed)
    terrain = make_terrain(rng)
    camera = random_camera(rng, width, height)
    actors = _herd(rng, camera, terrain.is_snow)
    things = random_things(rng, camera, int(rng.integers(0, 12)), actors)
    return Scene(camera, terrain, random_light(rng), tuple(actors), tuple(things))


def labels_for_training(picture: Picture, least_px: float = 5.0, least_visible: float = 0.3) -> list[Label]:
    """Return the animals that a detector can be asked to find: large enough, and not mostly hidden or outside."""
    return [
        x for x in picture.labels if x.visible >= least_visible and x.xyxy[2] - x.xyxy[0] >= least_px and x.xyxy[3] - x.xyxy[1] >= least_px
    ]
