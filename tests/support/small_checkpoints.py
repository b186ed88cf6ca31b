"""Small published checkpoints, written once, and detectors that are closed after a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ml_engine.detection.detector import Detector
from ml_engine.detection.loading import load_detector
from tests.support.architectures import ARCHITECTURES
from tests.support.published_checkpoints import write_checkpoint

BY_NAME = {one.name: one for one in ARCHITECTURES}
Load = Callable[..., Detector]


def written_once(folders: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that writes the checkpoint of an architecture at its first call."""
    written: dict[str, Path] = {}

    def write(name: str) -> Path:
        if name not in written:
            written[name] = folders.mktemp("checkpoint") / "published"
            write_checkpoint(BY_NAME[name], written[name], small=True)
        return written[name]

    return write


@contextmanager
def closed_at_end(cache_dir: Path) -> Iterator[Load]:
    """Yield a function that loads a detector from a folder for a device."""
    opened: list[Detector] = []

    def opener(folder: Path, device: Any) -> Detector:
        opened.append(
            load_detector(str(folder), name="test", device=device, cache_dir=cache_dir, threads=1)
        )
        return opened[-1]

    yield opener
    for detector in opened:
        detector.close()
