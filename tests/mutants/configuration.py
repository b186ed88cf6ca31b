"""Mechanisms of the configuration."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_READING = "tests/unit/core/test_config_reading.py"
_PAGE = "tests/unit/infra/test_configuration_page.py"
_COMPOSE = f"{_PAGE}::test_compose_passes_each_variable_to_the_containers_that_read_it"

CONFIGURATION = (
    Mutant(
        "a blank variable counts as a value",
        "core/config/sources.py",
        "                if value.strip():\n",
        "                if True:\n",
        f"{_READING}::test_a_blank_value_means_not_set",
    ),
    Mutant(
        "a blank variable does not hide the value of the .env file",
        "core/config/sources.py",
        "            if found:\n",
        "            if False:\n",
        f"{_READING}::test_a_blank_value_means_not_set",
    ),
    Mutant(
        "a wrong value stops processes that do not read it",
        "core/config/processes.py",
        "refuse(fault for section in done.values() for",
        "refuse(fault for section in (read_section(kind, sources) for kind in SECTIONS) for",
        f"{_READING}::test_a_wrong_value_stops_the_processes_that_read_it_and_no_others",
    ),
    Mutant(
        "muster config shows secrets",
        "infra/config_command.py",
        '"set" if text and variable.secret else shown(text)',
        "shown(text)",
        "tests/unit/infra/test_config_command.py",
    ),
    Mutant(
        "muster config shows the login of an address",
        "core/config/reading.py",
        "_ADDRESS.sub(_without_login, text)",
        "text",
        "tests/unit/infra/test_config_command.py",
    ),
    Mutant(
        "muster config shows the key of a connection string in another variable",
        "core/config/reading.py",
        '_KEY.sub(r"\\1***", _ADDRESS.sub(_without_login, text))',
        "_ADDRESS.sub(_without_login, text)",
        "tests/unit/infra/test_config_command.py",
    ),
    Mutant(
        "a refusal quotes a login",
        "core/config/reading.py",
        'shown(error["msg"].removeprefix("Value error, "))',
        'error["msg"].removeprefix("Value error, ")',
        "tests/unit/infra/test_config_command.py",
    ),
    Mutant(
        "compose leaves out a variable of the API",
        "docker-compose.yml",
        "      MUSTER_HEAD_S:\n",
        "",
        _COMPOSE,
    ),
    Mutant(
        "compose passes the operator's storage to containers that have their own",
        "docker-compose.yml",
        "  AZURE_STORAGE_CONNECTION_STRING_FILE: /storage",
        "  AZURE_STORAGE_CONNECTION_STRING:\n  AZURE_STORAGE_CONNECTION_STRING_FILE: /storage",
        _COMPOSE,
    ),
    Mutant(
        "a process reads a variable that the reference page does not tell of",
        "core/config/processes.py",
        "    metrics: MetricsSection\n",
        "    metrics: MetricsSection\n    port: PortSection\n",
        f"{_PAGE}::test_the_page_is_up_to_date",
    ),
)
