"""A scene and its picture: country, light, animals and things, and the exact box of every animal."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ml_engine.training.animals import Look, Pose, Species, body_parts
from ml_engine.training.camera import Camera
from ml_engine.training.coats import Coat, Light, shade
from ml_engine.training.solids import Part, cast, ground_shadow, heading_matrix
from ml_engine.training.terrain import Terrain

SPECIES: tuple[Species, ...] = ("bison", "cattle", "person")
"""Class names; their order is that of the checkpoint's labels and of COCO category ids from 1 on."""

GROUND, THING = -1, -2
"""Owners of pixels that no animal has."""

LARGE_PATCH_PX = 220


@dataclass(frozen=True, slots=True)
class Actor:
    """An animal or person at one moment.

    Attributes:
        identity: The same number in every frame of a sequence, >= 0.
        look: The individual.
        x_m: World position, m.
        y_m: World position, m.
        heading_rad: Where it faces; 0 is along X, counter-clockwise.
        pose: What it does.
        phase_rad: Where in its gait it is.
        walking: Whether its legs swing.
    """

    identity: int
    look: Look
    x_m: float
    y_m: float
    heading_rad: float
    pose: Pose = "standing"
    phase_rad: float = 0.0
    walking: bool = False


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that stands in the scene and is no animal."""

    parts: list[Part]
    coat: Coat
    x_m: float
    y_m: float
    heading_rad: float
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Scene:
    """All that is seen at one moment."""

    camera: Camera
    terrain: Terrain
    light: Light
    actors: tuple[Actor, ...]
    things: tuple[Thing, ...] = ()


@dataclass(frozen=True, slots=True)
class Label:
    """The truth about one animal in one picture.

    Attributes:
        identity: Of the actor.
        species: Its class.
        xyxy: Box of the animal's outline, px, clipped to the picture; what other bodies hide of it is included.
        full_xyxy: The same, not clipped.
        visible: Fraction of the outline's pixels that are inside the picture and hidden by nothing.
    """

    identity: int
    species: Species
    xyxy: tuple[float, float, float, float]
    full_xyxy: tuple[float, float, float, float]
    visible: float

    @property
    def inside(self) -> float:
        """Fraction of the whole box's area that is inside the picture."""
        whole = (self.full_xyxy[2] - self.full_xyxy[0]) * (self.full_xyxy[3] - self.full_xyxy[1])
        kept = max(self.xyxy[2] - self.xyxy[0], 0.0) * max(self.xyxy[3] - self.xyxy[1], 0.0)
        return kept / max(whole, 1e-9)


@dataclass(frozen=True, slots=True)
class Picture:
    """A rendered scene.

    Attributes:
        bgr: (h, w, 3) uint8.
        labels: Animals of which at least one pixel is inside the picture.
        owner: (h, w) int32: whose pixel it is, an identity, `GROUND` or `THING`.
    """

    bgr: npt.NDArray[np.uint8]
    labels: tuple[Label, ...]
    owner: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class _Body:
    parts: list[Part]
    coat: Coat
    to_world: npt.NDArray[np.float64]
    origin: npt.NDArray[np.float64]
    actor: Actor | None


def _bodies(scene: Scene) -> list[_Body]:
    bodies = [_Body(t.parts, t.coat, heading_matrix(t.heading_rad, t.scale), np.array([t.x_m, t.y_m, 0.0]), None) for t in scene.things]
    for a in scene.actors:
        parts = body_parts(a.look, a.pose, a.phase_rad, a.walking)
        bodies.append(_Body(parts, a.look.coat, heading_matrix(a.heading_rad, a.look.scale), np.array([a.x_m, a.y_m, 0.0]), a))
    eye = scene.camera.position()
    return sorted(bodies, key=lambda b: -float(np.linalg.norm(b.origin - eye)))


def _overlap(
    shape_hw: tuple[int, int], patch_hw: tuple[int, int], left: int, top: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + patch_hw[1], shape_hw[1]), min(top + patch_hw[0], shape_hw[0])
    if x0 >= x1 or y0 >= y1:
        return None
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))


def _draw(
    scene: Scene, body: _Body, canvas: npt.NDArray[np.float32] | None, owner: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.bool_], int, int] | None:
    """Draw a body into `owner` and, unless that is None, `canvas`; return its outline and where that begins, None when far outside."""
    view, pixel, depth = scene.camera.local_view(body.origin)
    if depth < 0.5:
        return None
    reach = np.linalg.norm(view[:2], axis=1).max() * 1.5 * np.linalg.norm(body.to_world[:, 0])
    if not (-2 * reach < pixel[0] < scene.camera.width + 2 * reach and -2 * reach < pixel[1] < scene.camera.height + 2 * reach):
        return None
    finer = 1 if reach > LARGE_PATCH_PX else 2
    surface = cast(view, body.to_world, body.parts, pixel, finer)
    whole = (surface.part >= 0).astype(np.float32)
    size = (whole.shape[1] // finer, whole.shape[0] // finer)
    alpha = cv2.resize(whole, size, interpolation=cv2.INTER_AREA) if finer > 1 else whole
    left, top = round(surface.left), round(surface.top)
    mask = alpha >= 0.5
    where = _overlap(owner.shape, alpha.shape, left, top)
    if where is None:
        return mask, left, top
    target, source = where
    owner[target][mask[source]] = THING if body.actor is None else body.actor.identity
    if canvas is not None:
        colour = shade(surface, body.parts, body.coat, scene.light) * whole[..., None]
        colour = cv2.resize(colour, size, interpolation=cv2.INTER_AREA) if finer > 1 else colour
        canvas[target] = canvas[target] * (1 - alpha[source][..., None]) + colour[source]
    return mask, left, top


def _label(actor: Actor, mask: npt.NDArray[np.bool_], left: int, top: int, owner: npt.NDArray[np.int32]) -> Label | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    x0, x1 = float(left + columns[0]), float(left + columns[-1] + 1)
    y0, y1 = float(top + rows[0]), float(top + rows[-1] + 1)
    height, width = owner.shape
    clipped = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        return None
    window = owner[int(clipped[1]) : int(clipped[3]), int(clipped[0]) : int(clipped[2])]
    visible = float(np.count_nonzero(window == actor.identity)) / float(np.count_nonzero(mask))
    return Label(actor.identity, actor.look.species, clipped, (x0, y0, x1, y1), visible)


def _ground(scene: Scene, bodies: list[_Body]) -> npt.NDArray[np.float32]:
    camera, light = scene.camera, scene.light
    shadows = np.zeros((camera.height, camera.width), np.uint8)
    for body in bodies:
        view, pixel, depth = camera.local_view(body.origin)
        if depth > 0.5:
            ground_shadow(view, body.to_world, body.parts, pixel, light.sun, shadows)
    shaded = shadows.astype(np.float32) / 255
    if light.softness_px > 0.2:
        shaded = cv2.GaussianBlur(shaded, (0, 0), light.softness_px)
    level = light.ambient + light.direct * float(light.sun[2])
    canvas = scene.terrain.paint(camera) * (level * (1 - light.shadow * shaded))[..., None]
    return np.ascontiguousarray(canvas * np.array(light.tint_bgr, np.float32), np.float32)


def _compose(scene: Scene, bodies: list[_Body], canvas: npt.NDArray[np.float32] | None) -> tuple[tuple[Label, ...], npt.NDArray[np.int32]]:
    owner = np.full((scene.camera.height, scene.camera.width), GROUND, np.int32)
    drawn = [(body.actor, _draw(scene, body, canvas, owner)) for body in bodies]
    labels = [_label(actor, *found, owner) for actor, found in drawn if actor is not None and found is not None]
    return tuple(sorted((x for x in labels if x is not None), key=lambda x: x.identity)), owner


def render_scene(scene: Scene) -> Picture:
    """Draw a scene. The same scene gives the same bytes."""
    bodies = _bodies(scene)
    canvas = _ground(scene, bodies)
    labels, owner = _compose(scene, bodies, canvas)
    return Picture(np.clip(canvas * 255 + 0.5, 0, 255).astype(np.uint8), labels, owner)


def label_scene(scene: Scene) -> tuple[Label, ...]:
    """Return the labels that `render_scene` gives, without painting anything."""
    return _compose(scene, _bodies(scene), None)[0]
