"""`muster config`: values, where they come from, what is wrong, and no secrets."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from core.config.sources import Sources
from infra import config_command

REPOSITORY = Path(__file__).parents[3]
CONNECTION = f"DefaultEndpointsProtocol=http;AccountName=ranch;AccountKey={'a' * 86}==;"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("MUSTER_", "AZURE_", "MONGO_", "OTEL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MUSTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def rows_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict, dict]:
    status = config_command.main(["--json", *arguments])
    told = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for section in told["sections"].values() for row in section}
    return status, rows, told


def test_each_value_says_where_it_comes_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("MONGO_DETAILS=mongodb://u:hidden@h/x\nMUSTER_GRACE_S=3\n")
    (tmp_path / "connection").write_text(CONNECTION)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING_FILE", str(tmp_path / "connection"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:hidden@collector:4318")
    status, rows, told = rows_of(capsys)
    env_file = str(tmp_path / ".env")
    assert status == 0 and told["problems"] == told["unknown"] == []
    assert (rows["MUSTER_GRACE_S"]["value"], rows["MUSTER_GRACE_S"]["origin"]) == ("3", env_file)
    assert rows["MUSTER_VISIBILITY_S"]["value"] == "60"
    assert rows["MUSTER_VISIBILITY_S"]["origin"] == "default"
    assert rows["MUSTER_DATA_DIR"]["origin"] == "environment"
    mongo, storage = rows["MONGO_URI"], rows["AZURE_STORAGE_CONNECTION_STRING"]
    assert (mongo["set"], mongo["value"], mongo["origin"]) == (True, None, env_file)
    assert mongo["found_as"] == "MONGO_DETAILS"
    assert (storage["set"], storage["value"]) == (True, None)
    assert storage["origin"] == f"file {tmp_path / 'connection'}"
    assert rows["OTEL_EXPORTER_OTLP_ENDPOINT"]["value"] == "http://***@collector:4318"
    assert "hidden" not in json.dumps(told) and "aaaa" not in json.dumps(told)
    assert rows["MODEL_NAME"]["value"] is None and rows["MODEL_NAME"]["set"] is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AZURE_STORAGE_ACCOUNT_URL", CONNECTION),
        ("AZURE_STORAGE_CONNECTION_STRING_FILE", CONNECTION),
        ("MODEL_NAME", "https://ranch:a/aaaa@models.example"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://ranch:a@aaaa@collector:4318"),
        ("MUSTER_OIDC_ISSUER", "https://ranch:aaaa@login.example"),
        ("MUSTER_ALLOWED_ORIGINS", "https://ranch:aaaa@app.example/path"),
    ],
)
def test_a_secret_in_a_variable_that_is_none_is_hidden(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    _, rows, told = rows_of(capsys)
    assert "***" in rows[name]["value"] and "aaaa" not in json.dumps(told)


def test_what_is_wrong_is_told_with_status_2_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSTER_GRACE_S", "soon")
    monkeypatch.setenv("MUSTER_WEBHOOK_SECRET", "hunter2")
    monkeypatch.setenv("MUSTER_VISIBILTY_S", "30")
    monkeypatch.setenv("MUSTER_SOMETHING_ELSE_ENTIRELY", "1")
    monkeypatch.setenv("MUSTER_TEST_MONGO_URI", "mongodb://x")
    assert config_command.main([]) == 2
    out = capsys.readouterr().out
    assert "MUSTER_GRACE_S = soon  (environment, refused)" in out
    assert "Problem: MUSTER_GRACE_S is 'soon' (environment). Give a number." in out
    assert "MUSTER_WEBHOOK_SECRET = set  (environment, refused)" in out and "hunter2" not in out
    assert "MUSTER_VISIBILTY_S (environment) has no effect" in out
    assert "Did you mean MUSTER_VISIBILITY_S?" in out
    assert "MUSTER_SOMETHING_ELSE_ENTIRELY (environment) has no effect" in out
    assert "MUSTER_TEST_MONGO_URI" not in out
    status, rows, told = rows_of(capsys, "--process", "keys")
    assert status == 0 and told["problems"] == [] and "MUSTER_GRACE_S" not in rows


def test_a_process_shows_what_it_reads_and_whether_it_would_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("MUSTER_DEVICE=torch\n")
    status, rows, told = rows_of(capsys, "--process", "worker")
    assert status == 2 and told["problems"][0].startswith("No storage is configured.")
    assert rows["MUSTER_DEVICE"]["value"] == "torch" and "MUSTER_HEAD_S" not in rows
    status, rows, told = rows_of(capsys, "--process", "count")
    assert status == 0 and set(rows) == {
        "MUSTER_DATA_DIR",
        "MUSTER_DEVICE",
        "MUSTER_ALLOW_UNCONFINED_DECODING",
    }
    assert rows["MUSTER_DEVICE"]["value"] == "auto", "commands that count read no .env file"
    (tmp_path / ".env").write_bytes(b"\xff")
    assert config_command.main([]) == 2
    assert ".env cannot be read" in capsys.readouterr().err


def test_the_table_fits_80_columns_and_keeps_every_name_whole() -> None:
    report = config_command.make_report(Sources({"MODEL_NAME": "x" * 200}), None)
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    config_command.show(report, console)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    words = {word for line in lines for word in line.split()}
    assert {row.name for rows in report.sections.values() for row in rows} <= words
    assert "".join(lines).count("x") == 200, "long values are folded, not cut"


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_reader_that_stops_early_gets_no_traceback(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "infra.config_command", *arguments],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
    finally:
        os.close(writing)
    assert done.stderr == ""
