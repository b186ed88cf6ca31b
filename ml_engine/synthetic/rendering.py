"""The rendering of a scene: ground, shadows, bodies from far to near, and their labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from ml_engine.synthetic.bodies import body_parts
from ml_engine.synthetic.camera import Camera
from ml_engine.synthetic.meshes import Part, heading_matrix, make_mesh
from ml_engine.synthetic.rasteriser import Surface, see
from ml_engine.synthetic.scene import GROUND, THING, Actor, Label, Picture, Scene
from ml_engine.synthetic.shading import Coat, shade
from ml_engine.synthetic.stand import Stand, ground_shadow

BACKDROP_GAIN = 0.75
"""Brightness of photographs relative to rendered country, whose tones `degrade` raises."""

HAIR_M = 0.035
"""How far the longest hair sticks out of the outline, m."""


@dataclass(frozen=True, slots=True)
class _Body:
    stand: Stand
    coat: Coat
    rough_px: float
    px_per_m: float
    actor: Actor | None
    ghost: bool = False


SMALL_PX = 90
"""Bodies shorter than this get a coarser mesh, px."""


def _body(
    camera: Camera,
    parts: list[Part],
    coat: Coat,
    heading_rad: float,
    scale: float,
    place_m: tuple[float, float],
    actor: Actor | None,
) -> _Body | None:
    origin = np.array([*place_m, 0.0])
    _, depth = camera.project(origin[None])
    if depth[0] < 0.5:
        return None
    px_per_m = (camera.focal_x_px * camera.focal_y_px) ** 0.5 / float(depth[0])
    mesh = make_mesh(parts, 2 if px_per_m * 2.4 * scale < SMALL_PX else 1)
    hair = (
        max(float(mesh.hair.max()) - 0.4, 0.0)
        if actor is None
        else 0.75 * actor.look.shag * (actor.look.shag > 0.3)
    )
    rough = HAIR_M * hair * scale
    return _Body(
        Stand(mesh, heading_matrix(heading_rad, scale), origin),
        coat,
        rough * px_per_m,
        px_per_m,
        actor,
    )


def _bodies(scene: Scene) -> list[_Body]:
    camera = scene.camera
    things = [
        (_body(camera, t.parts, t.coat, t.heading_rad, t.scale, (t.x_m, t.y_m), None), t.ghost)
        for t in scene.things
    ]
    bodies = [replace(b, ghost=True) if b is not None and ghost else b for b, ghost in things]
    for a in scene.actors:
        parts = body_parts(a.look, a.pose, a.phase_rad, a.walking)
        bodies.append(
            _body(camera, parts, a.look.coat, a.heading_rad, a.look.scale, (a.x_m, a.y_m), a)
        )
    eye = camera.position()
    return sorted(
        (b for b in bodies if b is not None),
        key=lambda b: -float(np.linalg.norm(b.stand.origin - eye)),
    )


def _overlap(
    shape_hw: tuple[int, int], patch_hw: tuple[int, int], left: int, top: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + patch_hw[1], shape_hw[1]), min(top + patch_hw[0], shape_hw[0])
    if x0 >= x1 or y0 >= y1:
        return None
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))


def _resized(raster: npt.NDArray[np.float32], finer: float) -> npt.NDArray[np.float32]:
    """Bring a raster to the image's pixels, with soft edges."""
    if finer > 1:
        return np.asarray(
            cv2.resize(raster, None, fx=1 / finer, fy=1 / finer, interpolation=cv2.INTER_AREA),
            np.float32,
        )
    return np.asarray(cv2.GaussianBlur(raster, (3, 3), 0.55), np.float32)


def _colours(scene: Scene, body: _Body, surface: Surface) -> npt.NDArray[np.float32]:
    towards = scene.camera.position() - body.stand.origin
    distance = float(np.linalg.norm(towards))
    stand = body.stand
    colour = shade(
        surface,
        body.coat,
        scene.light,
        stand.turned_back(scene.light.sun),
        stand.turned_back(towards / distance),
    )
    mist = 1 - float(np.exp(-scene.haze * distance / 100))
    return colour * (1 - mist) + np.float32(0.8 * mist) if mist > 0.01 else colour


def _draw(
    scene: Scene, body: _Body, canvas: npt.NDArray[np.float32] | None, owner: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.bool_], int, int] | None:
    """Draw a body into `owner` and, unless that is None, into `canvas`.

    Return its outline and where that begins; None if it is far outside.
    """
    camera = scene.camera
    pixel = camera.project(body.stand.origin[None])[0][0]
    reach = 4.0 * body.px_per_m * max(1.0, float(np.abs(body.stand.mesh.vertices).max()) / 3)
    if not (-reach < pixel[0] < camera.width + reach and -reach < pixel[1] < camera.height + reach):
        return None
    sun = None if canvas is None else scene.light.sun
    smooth = (
        0.0
        if body.actor is None or canvas is None
        else 0.05 * body.px_per_m * body.actor.look.scale
    )
    surface = see(camera, body.stand, sun, scene.terrain.cover_m, body.rough_px, smooth)
    if surface is None:
        return None
    height, width = surface.shape_hw
    whole = np.zeros(height * width, np.float32)
    whole[surface.where] = 1.0
    alpha = _resized(whole.reshape(height, width), surface.finer)
    mask = alpha >= 0.5
    where = _overlap(owner.shape, mask.shape, surface.left, surface.top)
    if where is None:
        return mask, surface.left, surface.top
    target, source = where
    owner[target][mask[source]] = THING if body.actor is None else body.actor.identity
    if canvas is not None:
        finer = round(surface.finer)
        rows, columns = (slice(s.start * finer, s.stop * finer) for s in source)
        inside = _cropped(surface, rows, columns)
        raster = np.zeros(
            ((rows.stop - rows.start) * (columns.stop - columns.start), 3), np.float32
        )
        if len(inside.where):
            raster[inside.where] = _colours(scene, body, inside)
        colour = _resized(raster.reshape(*inside.shape_hw, 3), surface.finer)
        behind = cv2.multiply(canvas[target], cv2.merge([1 - alpha[source]] * 3))
        canvas[target] = cv2.add(behind, colour)
    return mask, surface.left, surface.top


def _cropped(surface: Surface, rows: slice, columns: slice) -> Surface:
    """Return the part of a surface in those rows and columns of the raster.

    Pixels outside the image need not be coloured.
    """
    width = surface.shape_hw[1]
    shape_hw = (rows.stop - rows.start, columns.stop - columns.start)
    if shape_hw == surface.shape_hw:
        return surface
    row, column = surface.where // width - rows.start, surface.where % width - columns.start
    kept = np.flatnonzero((row >= 0) & (row < shape_hw[0]) & (column >= 0) & (column < shape_hw[1]))
    per_pixel = {
        name: getattr(surface, name)[kept]
        for name in ("normal", "body_m", "colour_bgr", "lit", "open", "patterned", "hair")
    }
    return replace(
        surface, shape_hw=shape_hw, where=row[kept] * shape_hw[1] + column[kept], **per_pixel
    )


def _label(
    actor: Actor, mask: npt.NDArray[np.bool_], left: int, top: int, owner: npt.NDArray[np.int32]
) -> Label | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    x0, x1 = float(left + columns[0]), float(left + columns[-1] + 1)
    y0, y1 = float(top + rows[0]), float(top + rows[-1] + 1)
    height, width = owner.shape
    clipped = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        return None
    mine = (
        owner[int(clipped[1]) : int(clipped[3]), int(clipped[0]) : int(clipped[2])]
        == actor.identity
    )
    visible = float(np.count_nonzero(mine)) / float(np.count_nonzero(mask))
    seen = clipped
    if visible > 0:
        down, across = np.flatnonzero(mine.any(axis=1)), np.flatnonzero(mine.any(axis=0))
        seen = (
            float(clipped[0] + across[0]),
            float(clipped[1] + down[0]),
            float(clipped[0] + across[-1] + 1.0),
            float(clipped[1] + down[-1] + 1.0),
        )
    return Label(
        actor.identity,
        actor.look.species,
        clipped,
        (x0, y0, x1, y1),
        visible,
        seen,
        (actor.x_m, actor.y_m),
    )


def _shadows(scene: Scene, bodies: list[_Body]) -> npt.NDArray[np.float32]:
    """Return the share of light (h, w), in [0, 1], that bodies take from the ground.

    They take light of the sun and, right below them, of the sky.
    """
    camera, light = scene.camera, scene.light
    cast, contact = (np.zeros((camera.height, camera.width), np.uint8) for _ in range(2))
    sizes, level = [], 0.6 * scene.terrain.cover_m
    for body in bodies:
        if light.shadow > 0:
            ground_shadow(camera, body.stand, light.sun, cast, level)
            ground_shadow(
                camera, body.stand, np.array([0.0, 0.0, 1.0]), contact, level, roughly=True
            )
        sizes.append(body.px_per_m)
    shaded = cv2.GaussianBlur(cast, (0, 0), light.softness_px) if light.softness_px > 0.2 else cast
    near = (
        cv2.GaussianBlur(contact, (0, 0), float(np.clip(np.median(sizes) * 0.12, 0.6, 9)))
        if sizes
        else contact
    )
    taken = 1 - (1 - light.shadow * (shaded.astype(np.float32) / 255)) * (
        1 - min(0.3, light.shadow) * (near.astype(np.float32) / 255)
    )
    return np.asarray(taken, np.float32)


def _ground(
    scene: Scene, bodies: list[_Body], backdrop: npt.NDArray[np.uint8] | None
) -> npt.NDArray[np.float32]:
    camera, light = scene.camera, scene.light
    level = light.ambient + light.direct * float(light.sun[2])
    if backdrop is None:
        canvas = scene.terrain.paint(camera, level)
    else:
        size = (camera.width, camera.height)
        canvas = cv2.resize(backdrop, size, interpolation=cv2.INTER_AREA).astype(
            np.float32
        ) * np.float32(BACKDROP_GAIN / 255 / level)
    if scene.blur_px > 0.3:
        small = cv2.resize(canvas, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), scene.blur_px / 2)
        canvas = np.asarray(
            cv2.resize(small, (camera.width, camera.height), interpolation=cv2.INTER_LINEAR),
            np.float32,
        )
    left = 1 - _shadows(scene, bodies)
    light_bgr = cv2.merge([left * np.float32(level * t) for t in light.tint_bgr])
    return np.asarray(cv2.multiply(canvas, light_bgr, dst=light_bgr), np.float32)


def _compose(
    scene: Scene, bodies: list[_Body], canvas: npt.NDArray[np.float32] | None
) -> tuple[tuple[Label, ...], npt.NDArray[np.int32]]:
    owner = np.full((scene.camera.height, scene.camera.width), GROUND, np.int32)
    drawn = [(body.actor, _draw(scene, body, canvas, owner)) for body in bodies if not body.ghost]
    labels = [
        _label(actor, *found, owner)
        for actor, found in drawn
        if actor is not None and found is not None
    ]
    return tuple(sorted((x for x in labels if x is not None), key=lambda x: x.identity)), owner


def render_scene(scene: Scene, backdrop: npt.NDArray[np.uint8] | None = None) -> Picture:
    """Render a scene. The same scene gives the same bytes.

    Args:
        scene: The scene.
        backdrop: (h, w, 3) a photograph without animals and persons, of any size, as background in
            place of the rendered country.
    """
    bodies = _bodies(scene)
    canvas = _ground(scene, bodies, backdrop)
    labels, owner = _compose(scene, bodies, canvas)
    return Picture(
        np.asarray(cv2.convertScaleAbs(np.maximum(canvas, 0), alpha=255), np.uint8), labels, owner
    )


def label_scene(scene: Scene) -> tuple[Label, ...]:
    """Return the labels that `render_scene` gives, without rendering an image."""
    return _compose(scene, _bodies(scene), None)[0]
