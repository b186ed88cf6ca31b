"""The bodies of bison, cattle and persons at one moment of their gait."""

from __future__ import annotations

from ml_engine.synthetic.bison import bison_parts
from ml_engine.synthetic.cattle import cattle_parts
from ml_engine.synthetic.meshes import Part
from ml_engine.synthetic.persons import person_parts
from ml_engine.synthetic.variation import Look, Pose, random_look

__all__ = ["Look", "Pose", "body_parts", "random_look"]


def body_parts(look: Look, pose: Pose, phase_rad: float, walking: bool) -> list[Part]:
    """Return an individual's body at one moment of its gait.

    Args:
        look: The individual.
        pose: Its pose; a person always stands.
        phase_rad: Phase of its gait; one pair of steps is 2 pi.
        walking: Whether the legs swing.
    """
    builders = {"bison": bison_parts, "cattle": cattle_parts, "person": person_parts}
    stride = 0.26 if walking else 0.05
    return builders[look.species](look, pose, phase_rad, stride)
