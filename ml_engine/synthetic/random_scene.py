"""Random scenes: camera, light, animals and their positions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import atan2, cos, degrees, pi, radians, sin, tan

import numpy as np

from core.domain.classes import CLASSES
from ml_engine.synthetic.bodies import Pose, random_look
from ml_engine.synthetic.camera import Camera
from ml_engine.synthetic.meshes import Part
from ml_engine.synthetic.objects import random_thing
from ml_engine.synthetic.scene import Actor, Label, Picture, Scene, Thing
from ml_engine.synthetic.shading import Light
from ml_engine.synthetic.terrain import make_terrain

SIDE_DEG = 17.0
"""Views with a smaller pitch than this count as from the side, degrees."""

CLEAR_PX = 24.0
"""Least width and height of a part of an animal that shows what it is, px."""

BODY_M = 2.4
"""Body length for which the size of animals in the image is planned, m."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The distribution of scenes.

    Attributes:
        nadir: Share of views straight or nearly straight down.
        oblique: Share of views at a slant; the rest is from the side.
        herds: Shares of scenes with mostly bison, mostly cattle, both, and mostly persons.
        empty: Share of scenes without animals.
        huddled: Share of scenes in which most animals stand close to another one, as in herds.
        aerial_px: Least and greatest length of an animal seen by a drone, as shares of the image's
            side.
        side_px: The same for views from the side.
        ground: A name in `terrain.PALETTES`, or None for any.
    """

    nadir: float = 0.27
    oblique: float = 0.35
    herds: tuple[float, float, float, float] = (0.36, 0.34, 0.17, 0.13)
    empty: float = 0.06
    huddled: float = 0.4
    aerial_px: tuple[float, float] = (0.028, 0.32)
    side_px: tuple[float, float] = (0.1, 1.5)
    ground: str | None = None


USUAL = Recipe()


def random_light(rng: np.random.Generator) -> Light:
    """Sample sun or cloud.

    An overcast sky gives a faint soft shadow underneath, a low sun a long hard one.
    """
    around = rng.uniform(0, 2 * pi)
    if rng.random() < 0.35:
        height = radians(rng.uniform(70, 88))
        sun = np.array([cos(around) * cos(height), sin(around) * cos(height), sin(height)])
        return Light(
            sun,
            float(rng.uniform(0.65, 0.95)),
            float(rng.uniform(0.1, 0.35)),
            float(rng.uniform(0.05, 0.3)),
            float(rng.uniform(1.5, 6)),
        )
    height = radians(rng.uniform(18, 75))
    sun = np.array([cos(around) * cos(height), sin(around) * cos(height), sin(height)])
    warm = float(rng.uniform(0, 0.15)) * (1.6 if height < radians(30) else 1.0)
    return Light(
        sun,
        float(rng.uniform(0.28, 0.6)),
        float(rng.uniform(0.5, 1.0)),
        float(rng.uniform(0.35, 0.78)),
        float(rng.uniform(0.3, 1.5)),
        (1 - warm, 1 - warm / 2, 1.0),
    )


def _between(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def random_camera(
    rng: np.random.Generator, width: int, height: int, recipe: Recipe = USUAL
) -> Camera:
    """Sample a camera: a drone that looks down or ahead, or a person at the fence.

    The image may be squeezed into its frame.
    """
    return _aimed_camera(rng, width, height, recipe)[0]


def _aimed_camera(
    rng: np.random.Generator, width: int, height: int, recipe: Recipe
) -> tuple[Camera, float]:
    """Sample a camera, and the length of animals for which it is aimed.

    The length is a share of the image's side.
    """
    aspect = float(rng.choice([16 / 9, 4 / 3, 1.0, 9 / 16], p=[0.42, 0.22, 0.28, 0.08]))
    kind = rng.random()
    side = kind >= recipe.nadir + recipe.oblique
    half = tan(radians(_between(rng, (4, 34)) if side else rng.uniform(16, 38)))
    focal_x, focal_y = width / 2 / half, height / 2 / half * aspect
    focal = (focal_x * focal_y) ** 0.5
    roll = float(rng.normal(0, 2))
    size = (width * height) ** 0.5
    if not side:
        length = _between(rng, recipe.aerial_px)
        pitch = float(rng.uniform(74, 90) if kind < recipe.nadir else rng.uniform(18, 74))
        distance = focal * BODY_M / (length * size)
        return Camera(
            width,
            height,
            max(distance * sin(radians(pitch)), 2.5),
            pitch,
            focal_x,
            focal_y,
            roll_deg=roll,
        ), length
    distance = max(focal * BODY_M / (_between(rng, recipe.side_px) * size), 3.0)
    lens = float(rng.uniform(0.7, 2.2) if rng.random() < 0.7 else rng.uniform(2.2, 8))
    lens = min(lens, 0.28 * distance)
    # Position in the image of the middle of the animals, as the tangent of the angle to the optical
    # axis.
    aside = float(rng.uniform(-0.22, 0.27)) * height / focal_y
    pitch = degrees(atan2(lens - 0.8, distance)) - degrees(np.arctan(aside))
    return Camera(
        width, height, lens, min(pitch, SIDE_DEG - 0.5), focal_x, focal_y, roll_deg=roll * 0.6
    ), focal * BODY_M / distance / size


@dataclass(frozen=True, slots=True)
class _Where:
    """The range of positions of bodies.

    It is a range of the image's columns (fractions) and of lengths (shares of the image's side).
    """

    columns: tuple[float, float]
    least: float
    most: float


def _spot(rng: np.random.Generator, camera: Camera, where: _Where) -> tuple[float, float] | None:
    size = (camera.width * camera.height) ** 0.5
    focal = (camera.focal_x_px * camera.focal_y_px) ** 0.5
    for _ in range(12):
        u = rng.uniform(*where.columns) * camera.width
        if camera.pitch_deg < SIDE_DEG:
            # Rows of a level view are crowded near the horizon, so the distance is sampled instead.
            distance_m = focal * BODY_M / (_between(rng, (where.least, where.most)) * size)
            drop = np.arcsin(min(camera.height_m / max(distance_m, 0.1), 0.9))
            v = camera.height / 2 + camera.focal_y_px * tan(drop - radians(camera.pitch_deg))
        else:
            v = rng.uniform(-0.02, 1.06) * camera.height
        x, y, distance = camera.ground_at(np.array([u]), np.array([v]))
        if not np.isfinite(distance[0]) or not -0.3 < v / camera.height < 1.5:
            continue
        if where.least * 0.9 < focal * BODY_M / float(distance[0]) / size < where.most * 1.1:
            return float(x[0]), float(y[0])
    return None


def _around(rng: np.random.Generator, camera: Camera, recipe: Recipe, length: float) -> _Where:
    """Return the positions of a herd; the camera is aimed at animals of length `length`."""
    if camera.pitch_deg >= SIDE_DEG:
        return _Where((-0.06, 1.06), 0.022, 0.8)
    nearest = max(camera.height_m * 2.0, 2.5)
    size = (camera.width * camera.height) ** 0.5
    most = min(
        (camera.focal_x_px * camera.focal_y_px) ** 0.5 * BODY_M / nearest / size,
        recipe.side_px[1] * 1.15,
    )
    length = min(length, most)
    if rng.random() < 0.7:
        return _Where((-0.02, 1.02), length * 0.5, min(length * 1.15, most))
    return _Where((-0.06, 1.06), min(0.04, length / 2), most)


def _wanted(rng: np.random.Generator, recipe: Recipe, side: bool, huddled: bool) -> int:
    if rng.random() < recipe.empty:
        return 0
    if side and rng.random() < 0.4:
        return int(rng.integers(1, 4))
    return int(np.ceil((38 if huddled else 26) * rng.random() ** 1.5))


def _beside(rng: np.random.Generator, actor: Actor) -> tuple[float, float] | None:
    """Sample a position close to an actor, not much nearer to the camera; None if there is none."""
    around, reach = rng.uniform(0, 2 * pi), rng.uniform(0.8, 2.6)
    x, y = actor.x_m + reach * cos(around), actor.y_m + reach * sin(around)
    return (float(x), float(y)) if np.hypot(x, y) > 0.8 * np.hypot(actor.x_m, actor.y_m) else None


def _herd(
    rng: np.random.Generator, camera: Camera, length: float, snow: bool, recipe: Recipe
) -> list[Actor]:
    mixes = np.array(
        [[0.93, 0.03, 0.04], [0.03, 0.93, 0.04], [0.45, 0.42, 0.13], [0.12, 0.15, 0.73]]
    )
    weights = mixes[int(rng.choice(4, p=recipe.herds))]
    side = camera.pitch_deg < SIDE_DEG
    common = rng.uniform(0, 2 * pi) if rng.random() < 0.45 else None
    where = _around(rng, camera, recipe, length)
    first = (
        replace(where, columns=(0.15, 0.85), least=length * 0.85, most=length * 1.15)
        if side
        else where
    )
    huddled = bool(rng.random() < recipe.huddled)
    close = float(rng.uniform(0.8, 1.5) if huddled or rng.random() < 0.4 else rng.uniform(1.5, 3.0))
    actors: list[Actor] = []
    for _ in range(_wanted(rng, recipe, side, huddled)):
        if huddled and actors and rng.random() < 0.8:
            spot = _beside(rng, actors[int(rng.integers(len(actors)))])
        else:
            spot = _spot(rng, camera, where if actors else first)
        if spot is None:
            continue
        species = CLASSES[int(rng.choice(3, p=weights))]
        apart = 0.8 if species == "person" else close
        if any((a.x_m - spot[0]) ** 2 + (a.y_m - spot[1]) ** 2 < apart**2 for a in actors):
            continue
        heading = float(rng.uniform(0, 2 * pi) if common is None else common + rng.normal(0, 0.4))
        poses: tuple[Pose, ...] = ("standing", "grazing", "lying")
        pose = "standing" if species == "person" else poses[int(rng.choice(3, p=[0.5, 0.34, 0.16]))]
        walking = pose == "standing" and rng.random() < 0.55
        look = random_look(rng, species, snow)
        actors.append(
            Actor(
                len(actors),
                look,
                spot[0],
                spot[1],
                heading,
                pose,
                float(rng.uniform(0, 2 * pi)),
                bool(walking),
            )
        )
    return actors


def _clearance(parts: list[Part], scale: float) -> float:
    """Return how far from an object's middle an animal can stand, m.

    Crowns of trees may be above its head.
    """
    low = [p.sections for p in parts if float((p.sections[:, 2] - p.sections[:, 5]).min()) < 1.2]
    reach = max((float((np.hypot(s[:, 0], s[:, 1]) + s[:, 3]).max()) for s in low), default=0.0)
    return reach * scale + 1.0


def random_things(
    rng: np.random.Generator, camera: Camera, count: int, actors: list[Actor]
) -> list[Thing]:
    """Scatter objects over the ground in view, but not onto the animals."""
    things = []
    for _ in range(count):
        spot = _spot(rng, camera, _Where((-0.06, 1.06), 0.02, 0.4))
        if spot is None:
            continue
        parts, coat = random_thing(rng)
        scale = float(rng.uniform(0.7, 1.4))
        room = _clearance(parts, scale)
        if any((a.x_m - spot[0]) ** 2 + (a.y_m - spot[1]) ** 2 < room**2 for a in actors):
            continue
        ghost = bool(camera.pitch_deg > SIDE_DEG and rng.random() < 0.08)
        things.append(
            Thing(parts, coat, spot[0], spot[1], float(rng.uniform(0, 2 * pi)), scale, ghost)
        )
    return things


def random_scene(seed: int, width: int = 416, height: int = 416, recipe: Recipe = USUAL) -> Scene:
    """Sample a whole scene from a seed.

    Args:
        seed: The same seed gives the same scene.
        width: Image width, px.
        height: Image height, px.
        recipe: The distribution of scenes.
    """
    rng = np.random.default_rng(seed)
    terrain = make_terrain(rng, recipe.ground)
    camera, length = _aimed_camera(rng, width, height, recipe)
    actors = _herd(rng, camera, length, terrain.is_snow, recipe)
    things = random_things(rng, camera, int(rng.integers(0, 9)), actors)
    light = random_light(rng)
    size = (width * height) ** 0.5
    side = camera.pitch_deg < SIDE_DEG
    blur = float(rng.uniform(0.4, 7)) * size / 640 if side and rng.random() < 0.5 else 0.0
    haze = float(rng.uniform(0.02, 0.5)) if rng.random() < 0.2 else 0.0
    return Scene(camera, terrain, light, tuple(actors), tuple(things), blur, haze)


def labels_for_training(
    picture: Picture, least_px: float = 5.0, least_visible: float = 0.3
) -> list[Label]:
    """Return the animals that a detector can be expected to find.

    These are large enough, and neither mostly hidden nor mostly outside.

    Args:
        picture: With its labels.
        least_px: Least width and height of the box.
        least_visible: Least fraction that is visible. Half of it is enough if the visible part is
            24 px wide and high.
    """
    kept = []
    for x in picture.labels:
        seen = min(x.seen_xyxy[2] - x.seen_xyxy[0], x.seen_xyxy[3] - x.seen_xyxy[1])
        enough = least_visible / 2 if seen >= CLEAR_PX else least_visible
        if (
            x.visible >= enough
            and x.xyxy[2] - x.xyxy[0] >= least_px
            and x.xyxy[3] - x.xyxy[1] >= least_px
        ):
            kept.append(x)
    return kept
