"""A real worker with an engine that only pretends: `python -m tests.support.quick_worker`. It tests
everything but the engine.

Every source has 35 frames. `MUSTER_TEST_PAUSES` tells, as JSON, how many seconds a function of the
engine takes.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import worker.main
from ml_engine.video.index import VideoIndex
from tests.support.fake_engine import FakeEngine, fake_index
from worker.engine import Engine

FRAMES = 35
SEGMENT_FRAMES = 10


class QuickEngine(FakeEngine):
    """The stand-in of the unit tests, for sources of any content."""

    def probe(self, path: Path, *, should_stop: Callable[[], bool]) -> VideoIndex:
        """Find 35 frames in anything."""
        self._called("probe")
        return fake_index(FRAMES)

    def read_telemetry_track(self, path: Path, *, should_stop: Callable[[], bool]) -> bytes | None:
        """Find no track."""
        return None


def quick_engine(*_: Any) -> Engine:
    """Return the engine with its pauses."""
    engine = QuickEngine()
    for name, seconds in json.loads(os.environ.get("MUSTER_TEST_PAUSES", "{}")).items():
        engine.hooks[name] = _sleeping(seconds)
    return engine


def _sleeping(seconds: float) -> Callable[..., None]:
    return lambda *_: time.sleep(seconds)


if __name__ == "__main__":
    vars(worker.main)["real_engine"] = quick_engine
    status = worker.main.main([])
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)
