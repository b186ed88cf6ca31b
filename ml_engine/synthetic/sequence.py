"""Scenes over time: animals that walk or graze under a fixed or gently swaying camera."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import atan2, pi, sin

import numpy as np
import numpy.typing as npt

from ml_engine.synthetic.bodies import Look, Pose
from ml_engine.synthetic.camera import Camera
from ml_engine.synthetic.random_scene import random_scene
from ml_engine.synthetic.scene import Actor, Scene, Thing
from ml_engine.synthetic.shading import Light
from ml_engine.synthetic.terrain import Terrain

CYCLE_M = {"bison": 1.04, "cattle": 1.04, "person": 0.73}
"""Ground covered in one cycle of the gait at adult size, m. It is four times the swing of a foot,
so that feet do not slide.
"""


@dataclass(frozen=True, slots=True)
class Walker:
    """An animal's path through a sequence.

    Attributes:
        identity: The same in every frame.
        look: The individual.
        times_s: (n,) ascending. Before the first and after the last time the animal stands still
            and faces its direction of movement.
        places_m: (n, 2) world positions at those times.
        heading_rad: Direction that an animal faces that never walks.
        pose: Pose of an animal that never walks.
    """

    identity: int
    look: Look
    times_s: npt.NDArray[np.float64]
    places_m: npt.NDArray[np.float64]
    heading_rad: float = 0.0
    pose: Pose = "standing"

    def at(self, time_s: float) -> Actor:
        """Return the animal at one moment."""
        x = float(np.interp(time_s, self.times_s, self.places_m[:, 0]))
        y = float(np.interp(time_s, self.times_s, self.places_m[:, 1]))
        leg = int(np.searchsorted(self.times_s, time_s, side="right")) - 1
        if len(self.times_s) == 1:
            return Actor(
                self.identity,
                self.look,
                x,
                y,
                self.heading_rad,
                self.pose,
                time_s + self.identity,
                False,
            )
        if not 0 <= leg < len(self.times_s) - 1:
            last = (
                self.places_m[1] - self.places_m[0]
                if leg < 0
                else self.places_m[-1] - self.places_m[-2]
            )
            return Actor(
                self.identity,
                self.look,
                x,
                y,
                atan2(last[1], last[0]),
                "standing",
                time_s + self.identity,
                False,
            )
        step = self.places_m[leg + 1] - self.places_m[leg]
        done = np.linalg.norm(np.diff(self.places_m[: leg + 1], axis=0), axis=1).sum() + np.hypot(
            *(np.array([x, y]) - self.places_m[leg])
        )
        phase = (
            2 * pi * float(done) / (CYCLE_M[self.look.species] * self.look.scale) + self.identity
        )
        return Actor(
            self.identity, self.look, x, y, atan2(step[1], step[0]), "standing", phase, True
        )


@dataclass(frozen=True, slots=True)
class Sway:
    """The movement of a hovering drone: two slow swings about its position."""

    x_m: float = 0.0
    y_m: float = 0.0
    yaw_deg: float = 0.0
    period_s: float = 9.0

    def move(self, camera: Camera, time_s: float) -> Camera:
        """Return the camera at its position at one moment."""
        a, b = (
            sin(2 * pi * time_s / self.period_s),
            sin(2 * pi * time_s / (self.period_s * 1.37) + 1),
        )
        return replace(
            camera,
            x_m=camera.x_m + self.x_m * a,
            y_m=camera.y_m + self.y_m * b,
            yaw_deg=camera.yaw_deg + self.yaw_deg * b,
        )


@dataclass(frozen=True, slots=True)
class Sequence:
    """A video to be rendered frame by frame."""

    camera: Camera
    sway: Sway
    terrain: Terrain
    light: Light
    walkers: tuple[Walker, ...]
    things: tuple[Thing, ...]
    frames: int
    fps: int

    def scene(self, frame: int) -> Scene:
        """Return the scene of a frame, counted from 0."""
        time_s = frame / self.fps
        actors = tuple(w.at(time_s) for w in self.walkers)
        return Scene(
            self.sway.move(self.camera, time_s), self.terrain, self.light, actors, self.things
        )


def random_sequence(
    seed: int, frames: int, fps: int = 25, width: int = 960, height: int = 540
) -> Sequence:
    """Sample a video from a seed, with the animals of `random_scene`.

    Walking animals go straight on at their own pace.
    """
    scene = random_scene(seed, width, height)
    rng = np.random.default_rng([seed, 2])
    walkers = []
    for a in scene.actors:
        start = np.array([a.x_m, a.y_m])
        speed = rng.uniform(0.6, 1.4) if a.walking else 0.0
        way = speed * frames / fps * np.array([np.cos(a.heading_rad), np.sin(a.heading_rad)])
        times, places = (
            (np.array([0.0, frames / fps]), np.stack([start, start + way]))
            if speed
            else (np.zeros(1), start[None])
        )
        walkers.append(Walker(a.identity, a.look, times, places, a.heading_rad, a.pose))
    sway = Sway(0.1, 0.1, 0.2) if rng.random() < 0.5 else Sway()
    return Sequence(
        scene.camera, sway, scene.terrain, scene.light, tuple(walkers), scene.things, frames, fps
    )
