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
        "a worker loads what measures detectors",
        "worker/stop.py",
        "from core.errors import Stopped\n",
        "import ml_engine.evaluation\nfrom core.errors import Stopped\n",
        _LIGHT,
    ),
    Mutant(
        "the help of all commands loads the configuration",
        "infra/muster.py",
        "from core.program_name import CALLERS\n",
        "from core.config.processes import all_variables\nfrom core.program_name import CALLERS\n",
        _LIGHT,
    ),
    Mutant(
        "a command begins without the packages that it needs",
        "infra/muster.py",
        "    if absent:\n",
        "    if False:\n",
        "tests/unit/infra/test_muster.py::test_a_missing_package_is_named_with_its_remedy",
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
        "    from core.observability.tracing_export import start_export  # Imports the SDK and the exporter.\n",
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
    Mutant(
        "tests that measure run beside others",
        "tests/support/side_by_side.py",
        "fcntl.LOCK_EX if alone else fcntl.LOCK_SH",
        "fcntl.LOCK_SH",
        "tests/unit/test_side_by_side.py::test_one_that_is_alone_waits_for_the_others_and_they_do_not_pass_it",
    ),
    Mutant(
        "the mark alone means nothing",
        "tests/conftest.py",
        'item.get_closest_marker("alone") is not None',
        "False",
        "tests/unit/test_side_by_side.py::test_pytest_gives_the_mark_its_meaning",
    ),
    Mutant(
        "a commit's subject may be of any length",
        "infra/commit_message.py",
        "if len(lines[0]) > LONGEST_SUBJECT:",
        "if False:",
        "tests/unit/infra/test_commit_message.py::test_a_bad_message_is_refused_with_the_reason",
    ),
)
