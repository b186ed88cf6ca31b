"""What an operator allows in requests: the use cases know this, and not where it was configured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

BUNDLED_DETECTORS = ("default", "pasture")
"""Names that always mean the configured default and the bundled checkpoint."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may ask for.

    Attributes:
        max_upload_bytes: Most bytes of video in one job.
        max_files: Most video files in one job.
        upload_minutes: How long a direct-upload link works.
        detectors: Names by which a job may ask for a detector.
    """

    max_upload_bytes: int
    max_files: int
    upload_minutes: float
    detectors: tuple[str, ...] = BUNDLED_DETECTORS


def detector_names(configured: Iterable[str]) -> tuple[str, ...]:
    """Return the names of all detectors that jobs may ask for: the bundled ones, then those that
    the operator configured.
    """
    return tuple(dict.fromkeys((*BUNDLED_DETECTORS, *configured)))
