"""The worker's reports about itself.

They are the API's only source for the devices and checkpoints on its health page.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform

from core.domain.worker_problem import WorkerProblem
from core.errors import MusterError
from core.ports import WorkerReport
from worker.step import Tools

logger = logging.getLogger(__name__)

REPORT_EVERY_S = 20.0


class Presence:
    """Reports of this worker, sent every 20 s.

    Args:
        tools: The tools of this worker.
        device: The device that will detect, such as `openvino:cpu`; `none` if the worker does not
            serve detection.
        gpu_available: Whether the device is a GPU.
        serves: Names of the queues.
    """

    def __init__(
        self, tools: Tools, *, device: str, gpu_available: bool, serves: tuple[str, ...]
    ) -> None:
        self._tools = tools
        self._device = device
        self._gpu_available = gpu_available
        self._serves = serves

    def report(self) -> WorkerReport:
        """Return the current report."""
        loaded = self._tools.detectors.loaded()
        problems: list[WorkerProblem] = [
            *self._tools.full_disk.problems(self._tools.timer.now()),
            *self._tools.engine.decoding_problems(),
        ]
        return WorkerReport(
            worker_id=self._tools.worker_id,
            at_utc=self._tools.timer.now(),
            device=next(iter(loaded.values()), self._device),
            gpu_available=self._gpu_available,
            models_loaded=tuple(sorted(loaded)),
            serves=self._serves,
            detail={"host": platform.node(), "pid": os.getpid(), "problems": problems},
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Report until told to stop."""
        while True:
            try:
                await self._tools.ports.jobs.report_worker(self.report())
            except MusterError as error:
                logger.info(
                    "presence not reported", extra={"action": "presence_failed", "code": error.code}
                )
            if await self._tools.timer.wait(stopping, REPORT_EVERY_S):
                return


def planned_device(device: str, *, serves_detection: bool) -> tuple[str, bool]:
    """Return the device that detectors will run on and whether it is a GPU, before any is loaded.

    May import torch where there is a GPU.

    Args:
        device: The configured device.
        serves_detection: Whether this worker serves detection.
    """
    if not serves_detection:
        return "none", False
    if device == "auto":
        from ml_engine.detection.loading import has_cuda

        device = "cuda" if has_cuda() else "openvino"
    return ("torch:cuda:0", True) if device == "cuda" else (f"{device}:cpu", False)
