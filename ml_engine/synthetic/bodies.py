"""The bodies of bison, cattle and persons at one moment of their gait."""

from __future__ import annotations

from ml_engine.synthetic.bison import bison_parts
from ml_engine.synthetic.cattle import cattle_parts
from ml_engine.synthetic.meshes import Part
from ml_engine.synthetic.persons import person_parts
from ml_engine.synthetic.variation import Look, Pose, random_look

__all__ = ["Look", "Pose", "body_parts", "random_look"]


def body_parts(look: Look, pose: Pose, phase_rad: float, walking: bool) -> list[Part]:
    """Return an individual's body as it stands at one moment of its gait.

    Args:
        look: The individual.
        pose: A person always stands.
        phase_rad: Where in its step it is; one step pair is 2 pi.
        walking: Whether the legs swing.
    """
    builders = {"bison": bison_parts, "cattle": cattle_parts, "person": person_parts}
    stride = 0.26 if walking else 0.05
    return builders[look.species](look, pose, phase_rad, stride)
