"""Mechanisms that keep programs light and their folders in one place."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_LIGHT = "tests/unit/test_structure.py::test_importing_it_loads_nothing_heavy"

STRUCTURE = (
    Mutant(
        "command lines load NumPy to name the devices",
        "ml_engine/detection/detector.py",
        "if TYPE_CHECKING:\n",
        "if True:\n",
        _LIGHT,
    ),
    Mutant(
        "delivering webhooks loads NumPy",
        "worker/stop.py",
        "from core.errors import Stopped\n",
        "import numpy\n\nfrom core.errors import Stopped\n",
        _LIGHT,
    ),
    Mutant(
        "spans' exporter is loaded where no endpoint is set",
        "core/bootstrap.py",
        "    if not traces.otlp_endpoint:\n        return lambda: None\n"
        "    from core.observability.tracing_export import start_export  # the SDK and the exporter\n",
        "    from core.observability.tracing_export import start_export\n\n    if not traces.otlp_endpoint:\n        return lambda: None\n",
        "tests/unit/core/test_tracing.py::test_without_an_endpoint_no_sdk_is_loaded_and_a_span_costs_next_to_nothing",
    ),
    Mutant(
        "a worker ignores its configuration's folder for converted networks",
        "ml_engine/paths.py",
        "(data_folder or data_dir())",
        "data_dir()",
        "tests/unit/ml_engine/test_paths.py::test_workers_keep_networks_under_their_configurations_data_folder",
    ),
)
