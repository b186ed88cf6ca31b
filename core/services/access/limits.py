"""Limits of requests. The use cases know the limits, but not how they were configured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

BUNDLED_DETECTORS = ("default", "pasture")
"""Names that always mean the configured default and the bundled checkpoint."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one request.

    Attributes:
        max_upload_bytes: Most bytes of video in one job.
        max_files: Most video files in one job.
        upload_minutes: Minutes for which a direct-upload link is valid.
        detectors: Names by which a job may select a detector.
    """

    max_upload_bytes: int
    max_files: int
    upload_minutes: float
    detectors: tuple[str, ...] = BUNDLED_DETECTORS


def detector_names(configured: Iterable[str]) -> tuple[str, ...]:
    """Return the names of all detectors that jobs may select.

    The bundled detectors come first, then those that the operator configured.
    """
    return tuple(dict.fromkeys((*BUNDLED_DETECTORS, *configured)))
