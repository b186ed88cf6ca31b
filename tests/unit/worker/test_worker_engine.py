"""The engine of the worker: what importing its description loads, and which functions it has."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from core.config.video import VideoSection
from ml_engine.video.sandbox.decoder import ConfinedDecoder
from tests.support.fake_engine import FakeEngine
from tests.support.quick_worker import QuickEngine
from worker.engine import Engine, decoder_limits
from worker.real_engine import RealEngine

if TYPE_CHECKING:
    # mypy compares the signatures.
    FAKE: Engine = FakeEngine()
    QUICK: Engine = QuickEngine()


def test_importing_the_description_loads_no_engine() -> None:
    code = "import sys, worker.engine; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "worker" in loaded
    assert loaded & {"ml_engine", "numpy", "cv2", "av", "torch", "openvino"} == set()


def test_the_real_engine_has_all_functions_under_their_own_names() -> None:
    engine: Engine = RealEngine(ConfinedDecoder(decoder_limits(VideoSection())))
    names = {name for name in vars(Engine) if not name.startswith("_")}
    assert {"probe", "detect_segment", "assemble", "render", "decoding_problems"} <= names
    for name in names - {"decoding_problems"}:
        function = getattr(engine, name)
        # Stages are measured under the last part of this name.
        assert function.__qualname__.rpartition(".")[2] == name
