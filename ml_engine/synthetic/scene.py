"""A scene and its image: country, light, animals, objects, and the exact box of each animal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.domain.classes import MusterClass
from ml_engine.synthetic.bodies import Look, Pose
from ml_engine.synthetic.camera import Camera
from ml_engine.synthetic.meshes import Part
from ml_engine.synthetic.shading import Coat, Light
from ml_engine.synthetic.terrain import Terrain

GROUND, THING = -1, -2
"""Owners of pixels that do not belong to an animal."""


@dataclass(frozen=True, slots=True)
class Actor:
    """An animal or person at one moment.

    Attributes:
        identity: The same number in every frame of a sequence, >= 0.
        look: The individual.
        x_m: World position, m.
        y_m: World position, m.
        heading_rad: Direction that it faces; 0 is along X, counter-clockwise.
        pose: Its pose.
        phase_rad: Phase of its gait.
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
    """An object in the scene that is not an animal.

    Of a `ghost` only the shadow is drawn, as of a tree outside the image.
    """

    parts: list[Part]
    coat: Coat
    x_m: float
    y_m: float
    heading_rad: float
    scale: float = 1.0
    ghost: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """All that is visible at one moment.

    Attributes:
        camera: The camera.
        terrain: The country.
        light: Sun and sky.
        actors: Animals and persons.
        things: Objects that are not animals.
        blur_px: Blur of the country, px, as of a long lens that is focused on the animals.
        haze: Share of the light that the air scatters over 100 m.
    """

    camera: Camera
    terrain: Terrain
    light: Light
    actors: tuple[Actor, ...]
    things: tuple[Thing, ...] = ()
    blur_px: float = 0.0
    haze: float = 0.0


@dataclass(frozen=True, slots=True)
class Label:
    """The label of one animal in one image.

    Attributes:
        identity: Identity of the actor.
        species: Its class.
        xyxy: Box of the animal's outline, px, clipped to the image. It includes parts that other
            bodies hide.
        full_xyxy: The same, not clipped.
        visible: Fraction of the outline's pixels that are inside the image and not hidden.
        seen_xyxy: Box of just those pixels, px; the box of the outline if there are none.
        ground_m: Its position, world X and Y, m.
    """

    identity: int
    species: MusterClass
    xyxy: tuple[float, float, float, float]
    full_xyxy: tuple[float, float, float, float]
    visible: float
    seen_xyxy: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    ground_m: tuple[float, float] = (0.0, 0.0)

    @property
    def inside(self) -> float:
        """Fraction of the whole box's area that is inside the image."""
        whole = (self.full_xyxy[2] - self.full_xyxy[0]) * (self.full_xyxy[3] - self.full_xyxy[1])
        kept = max(self.xyxy[2] - self.xyxy[0], 0.0) * max(self.xyxy[3] - self.xyxy[1], 0.0)
        return kept / max(whole, 1e-9)


@dataclass(frozen=True, slots=True)
class Picture:
    """A rendered scene.

    Attributes:
        bgr: (h, w, 3) uint8.
        labels: Animals of which at least one pixel is inside the image.
        owner: (h, w) int32: the owner of each pixel, which is an identity, `GROUND` or `THING`.
    """

    bgr: npt.NDArray[np.uint8]
    labels: tuple[Label, ...]
    owner: npt.NDArray[np.int32]
