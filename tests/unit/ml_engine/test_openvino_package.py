"""OpenVINO is loaded without the package that reports its use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

LOAD = """
import importlib.util, json, sys
installed = importlib.util.find_spec("openvino_telemetry") is not None
from ml_engine.detection.runtimes.openvino_package import load_openvino
openvino = load_openvino()
reporting = [name for name, module in sys.modules.items() if name.split(".")[0] == "openvino_telemetry" and module is not None]
print(json.dumps([installed, reporting, openvino.Core.__name__, openvino.convert_model.__name__]))
"""


def test_openvino_loads_without_its_usage_reports(tmp_path: Path) -> None:
    # An environment of its own, because the package does not report from CI jobs. The proxy does
    # not exist: nothing gets out.
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        cwd=REPOSITORY,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [True, [], "Core", "convert_model"]
    assert list(tmp_path.iterdir()) == []
