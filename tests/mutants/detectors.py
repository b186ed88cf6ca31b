"""Mechanisms that let detectors of every published architecture run."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_DETECTORS = "tests/integration/test_detector_architectures.py"
_FALLBACK = "tests/integration/test_openvino_fallback.py"

DETECTORS = (
    Mutant(
        "auto gives up where OpenVINO refuses a checkpoint",
        "ml_engine/detection/runtimes/fallback.py",
        "        if error.code != REFUSED:\n",
        "        if error.code:\n",
        f"{_FALLBACK}::test_auto_takes_torch_where_openvino_refuses_and_remembers",
    ),
    Mutant(
        "a conversion that failed is tried again at every start",
        "ml_engine/detection/runtimes/openvino_conversion.py",
        'note_refusal(target, error.details["reason"])',
        "pass",
        f"{_FALLBACK}::test_auto_takes_torch_where_openvino_refuses_and_remembers",
    ),
    Mutant(
        "a checkpoint on disk asks the hub for its backbone",
        "ml_engine/detection/runtimes/torch_runtime.py",
        'settings.pop("backbone_kwargs", None) or {}',
        "{}",
        f"{_DETECTORS}::test_published_files_are_read_as_they_are_meant",
    ),
    Mutant(
        "commands do not heed MUSTER_DEVICE",
        "ml_engine/cli/options.py",
        'default=os.environ.get(DEVICE_VARIABLE) or "auto"',
        'default="auto"',
        "tests/unit/ml_engine/test_command_options.py",
    ),
)
