"""The detectors of one worker. Each checkpoint is loaded once, when it is first needed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.config.worker import DetectorSection
from core.errors import DetectorError, InvalidSettings
from ml_engine.paths import cache_dir
from worker.engine import Engine

if TYPE_CHECKING:
    from ml_engine.arrays import DetectorInfo
    from ml_engine.detection.detector import Detector

logger = logging.getLogger(__name__)

_BUNDLED = "pasture"


@dataclass(frozen=True, slots=True)
class DetectorSource:
    """A requested detector: the name to record, and its hub id, folder or .onnx file."""

    name: str
    source: str


class Detectors:
    """A cache of loaded detectors. Its methods block. They may be called from several threads.

    Args:
        engine: Loads the detectors.
        config: The configured names, and the device that runs them.
    """

    def __init__(self, engine: Engine, config: DetectorSection) -> None:
        self._engine = engine
        self._config = config
        self._lock = threading.Lock()
        self._loaded: dict[str, Detector] = {}

    def resolve(self, name: str | None) -> DetectorSource:
        """Return the detector that a job's setting `detector` selects.

        None and `default` select the operator's default.

        Raises:
            InvalidSettings: The name is not configured here (code `unknown_detector`).
        """
        if name in self._config.detectors:
            return DetectorSource(str(name), self._config.detectors[str(name)])
        if name in (None, "default") and self._config.model_name:
            return DetectorSource("default", self._config.model_name)
        if name in (None, "default", _BUNDLED):
            return DetectorSource(_BUNDLED, str(self._engine.bundled_checkpoint()))
        raise InvalidSettings(
            f"No detector '{name}' is configured on this worker; the operator must set "
            "MUSTER_DETECTORS.",
            code="unknown_detector",
        )

    def describe(self, name: str | None) -> DetectorInfo:
        """Return the description of the detector of a name, without loading it.

        Raises:
            InvalidSettings, DetectorError: As raised by `resolve` and the engine.
        """
        wanted = self.resolve(name)
        return self._engine.describe_detector(
            wanted.source, name=wanted.name, device=self._config.device
        )

    def get(self, name: str | None, *, planned: Mapping[str, object]) -> Detector:
        """Return the loaded detector of a name.

        Args:
            name: The job's setting.
            planned: The plan's `detector`. All detections stored under the log's name must come
                from this detector.

        Raises:
            DetectorError: The detector cannot be loaded, or differs from the planned one (code
                `detector_changed`).
        """
        wanted = self.resolve(name)
        with self._lock:
            detector = self._loaded.get(wanted.source)
            if detector is None:
                detector = self._loaded[wanted.source] = self._engine.load_detector(
                    wanted.source,
                    name=wanted.name,
                    device=self._config.device,
                    cache_dir=cache_dir(self._config.data_dir),
                )
                info = detector.info
                extra = {
                    "action": "detector_loaded",
                    "detector": wanted.name,
                    "runtime": info.runtime,
                    "device": info.device,
                }
                logger.info("detector loaded", extra=extra)
        if detector.info.fingerprint != planned.get("fingerprint"):
            raise DetectorError(
                f"The detector '{wanted.name}' of this worker is not the one that the job "
                "was planned with; submit the video again.",
                code="detector_changed",
            )
        return detector

    def loaded(self) -> dict[str, str]:
        """Return runtime and device of each loaded detector, such as `openvino:cpu`, by name."""
        return {
            detector.info.name: f"{detector.info.runtime}:{detector.info.device}"
            for detector in list(self._loaded.values())
        }
