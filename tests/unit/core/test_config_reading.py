"""Reading of the configuration: what counts as set, which process reads what, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.config.processes import (
    CONFIGS,
    SECTIONS,
    ApiConfig,
    KeysConfig,
    WorkerConfig,
    all_variables,
    read_by,
)
from core.config.reading import read, read_section
from core.config.sources import Sources
from core.config.variables import Variable, variables_of
from core.errors import InvalidConfiguration
from worker import main as worker_main

WRONG = "wrong value"


def by_name(variable: Variable) -> str:
    return variable.name


@pytest.mark.parametrize("variable", all_variables(), ids=by_name)
def test_a_blank_value_means_not_set(variable: Variable, tmp_path: Path) -> None:
    defaults = read(variable.section, Sources({}))
    for name in variable.names:
        for blank in ("", "  "):
            assert read(variable.section, Sources({name: blank})) == defaults
            hides = Sources({name: blank}, {name: WRONG}, tmp_path / ".env")
            assert read(variable.section, hides) == defaults
            assert read(variable.section, Sources({}, {name: blank}, tmp_path / ".env")) == defaults


def test_a_blank_name_does_not_hide_the_other_name_of_a_variable() -> None:
    sources = Sources({"MONGO_URI": "", "MONGO_DETAILS": "mongodb://db.example"})
    assert KeysConfig.read(sources).database.mongo_uri == "mongodb://db.example"


@pytest.mark.parametrize("variable", all_variables(), ids=by_name)
def test_a_wrong_value_stops_the_processes_that_read_it_and_no_others(variable: Variable) -> None:
    sources = Sources({variable.name: WRONG})
    if not read_section(variable.section, sources).faults:
        assert "str" in str(variable.info.annotation), "every other type refuses a word"
        return
    for process, kind in CONFIGS.items():
        if process not in read_by(variable):
            kind.read(sources)
            continue
        with pytest.raises(InvalidConfiguration) as refused:
            kind.read(sources)
        assert variable.name in refused.value.message
        faults = refused.value.details["faults"]
        shown = {WRONG in fault.sentence for fault in faults if fault.field}
        assert shown <= {not variable.secret}


def test_every_refusal_is_told_once_and_says_what_to_do() -> None:
    sources = Sources(
        {
            "MUSTER_GRACE_S": "soon",
            "MUSTER_SERVES": "me",
            "MUSTER_METRICS_PORT": "99999",
            "MUSTER_DETECTORS": "{",
            "MUSTER_LOG_LEVEL": "loud",
            "MUSTER_MAX_FAILURES": "0",
            "MUSTER_WEBHOOK_HTTP": "perhaps",
            "MUSTER_WEBHOOK_SECRET": "hunter2",
            "MUSTER_DATA_DIR": "data",
        }
    )
    with pytest.raises(InvalidConfiguration) as refused:
        WorkerConfig.read(sources)
    assert refused.value.code == "invalid_configuration"
    assert {str(fault) for fault in refused.value.details["faults"]} == {
        "(float_parsing) MUSTER_GRACE_S is 'soon' (environment). Give a number.",
        "(literal_error) MUSTER_SERVES is 'me' (environment). Give 'all', 'detect' or 'cpu'.",
        "(less_than_equal) MUSTER_METRICS_PORT is '99999' (environment). Give 65535 or less.",
        'MUSTER_DETECTORS is \'{\' (environment). Give a JSON object, such as {"name": "value"}.',
        "MUSTER_LOG_LEVEL is 'loud' (environment). Give DEBUG, INFO, WARNING, ERROR or CRITICAL.",
        "(greater_than_equal) MUSTER_MAX_FAILURES is '0' (environment). Give 1 or more.",
        "(bool_parsing) MUSTER_WEBHOOK_HTTP is 'perhaps' (environment). Give true or false.",
        "MUSTER_WEBHOOK_SECRET is too short; take at least 16 random characters, "
        "such as `openssl rand -hex 32` gives",
        f"MUSTER_DATA_DIR is 'data'; give an absolute path, such as {Path('data').absolute()}, "
        "so that every process means the same folder",
    }
    assert len(refused.value.details["faults"]) == 9 and "hunter2" not in refused.value.message


def test_a_refusal_does_not_show_the_login_of_an_address(tmp_path: Path) -> None:
    sources = Sources({}, {"MUSTER_SERVES": "http://me:secret@host/?sig=hidden"}, tmp_path / ".env")
    with pytest.raises(InvalidConfiguration) as refused:
        WorkerConfig.read(sources)
    assert f"MUSTER_SERVES is 'http://***@host/?***' ({tmp_path}/.env)." in refused.value.message


def test_a_worker_says_each_refusal_on_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSTER_GRACE_S", "soon")
    monkeypatch.setenv("MUSTER_LOG_LEVEL", "loud")
    assert worker_main.read_config(WorkerConfig) is None
    told = capsys.readouterr().err.splitlines()
    assert sorted(told) == [
        "Configuration (float_parsing): MUSTER_GRACE_S is 'soon' (environment). Give a number.",
        "Configuration: MUSTER_LOG_LEVEL is 'loud' (environment). "
        "Give DEBUG, INFO, WARNING, ERROR or CRITICAL.",
    ]
    (tmp_path / ".env").write_bytes(b"MUSTER_GRACE_S=\xff\n")
    assert worker_main.read_config(WorkerConfig) is None
    assert f"The file {tmp_path}/.env cannot be read: it is not UTF-8" in capsys.readouterr().err


def test_values_keep_their_forms() -> None:
    given = {
        "muster_allowed_hosts": "Muster.example.org, *.ranch.example ,",
        "MUSTER_OIDC_SCOPES": '{"Herd.Read": "read"}',
        "MUSTER_REQUIRE_KEY": "TRUE",
        "MUSTER_LOG_LEVEL": "debug",
    }
    config = ApiConfig.read(Sources(given))
    assert config.access.allowed_hosts == ("muster.example.org", "*.ranch.example")
    assert config.access.oidc_scopes == {"Herd.Read": "read"}
    assert config.access.require_key is True and config.logs.log_level == "DEBUG"


def test_each_variable_is_declared_once_with_a_meaning() -> None:
    names = [name for variable in all_variables() for name in variable.names]
    assert len(names) == len(set(names)) == 68
    used: set[Any] = {kind for config in CONFIGS.values() for kind in config.sections().values()}
    assert used <= set(SECTIONS)
    for variable in all_variables():
        assert variable.meaning.endswith(".") and read_by(variable)
    with pytest.raises(ValueError, match="frozen"):
        read(SECTIONS[0], Sources({})).data_dir = "/x"  # type: ignore[attr-defined]
    assert {item.field for kind in SECTIONS for item in variables_of(kind)} == {
        item.field for item in all_variables()
    }


NUMBERS = [item for item in all_variables() if "float" in str(item.info.annotation)]
TIMES = [item for item in NUMBERS if item.unit in ("seconds", "minutes", "hours", "days")]


@pytest.mark.parametrize("variable", NUMBERS, ids=by_name)
@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e999"])
def test_a_number_that_is_not_finite_is_refused(variable: Variable, value: str) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        read(variable.section, Sources({variable.name: value}))
    assert f"{variable.name} is '{value}' (environment). Give" in refused.value.message


@pytest.mark.parametrize("variable", TIMES, ids=by_name)
def test_a_time_of_more_than_a_thousand_years_is_refused(variable: Variable) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        read(variable.section, Sources({variable.name: "1e12"}))
    assert f"{variable.name} is '1e12' (environment). Give" in refused.value.message
