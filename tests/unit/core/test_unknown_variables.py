"""Unknown variables with Muster's prefix: each process that starts warns of them."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.config.processes import ApiConfig
from core.config.sources import Sources
from core.config.unknown import unknown_variables
from worker import main as worker_main
from worker import storage, sweep


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("MUSTER_MAX_UPLOAD_BYTE", "MUSTER_MAX_UPLOAD_BYTES"),
        ("MUSTER_MODEL_NAME", "MODEL_NAME"),
        ("MUSTER_MONGO_URI", "MONGO_URI"),
        ("MUSTER_SOMETHING_ELSE_ENTIRELY", ""),
    ],
)
def test_the_nearest_name_is_suggested(typed: str, nearest: str) -> None:
    given = {typed: "1", "MUSTER_GRACE_S": "3", "MUSTER_TEST_MONGO_URI": "x"}
    assert [(item.name, item.nearest) for item in unknown_variables(Sources(given))] == [
        (typed, nearest)
    ]


@pytest.fixture
def _own_logging() -> Iterator[None]:
    """Restore the loggers and the file mask that a process changes."""
    loggers = [logging.getLogger(name) for name in (None, "uvicorn", "uvicorn.error")]
    access = logging.getLogger("uvicorn.access")
    before = [(log, log.handlers[:], log.propagate, log.level, log.filters[:]) for log in loggers]
    was = access.handlers[:], access.propagate
    mask = os.umask(0o022)
    yield
    os.umask(mask)
    for log, handlers, propagate, level, filters in before:
        log.handlers[:], log.propagate, log.filters[:] = handlers, propagate, filters
        log.setLevel(level)
    access.handlers[:], access.propagate = was


def start_api() -> None:
    from api.main import begin  # sets up a process's logging

    begin(ApiConfig.read())


@pytest.mark.parametrize(
    "start",
    [
        start_api,
        lambda: worker_main.main([]),
        lambda: sweep.main(["--dry-run"]),
        lambda: storage.main(["show"]),
    ],
    ids=["api", "worker", "sweep", "storage"],
)
def test_a_process_that_starts_warns_of_a_misspelt_variable(
    start: Callable[[], object],
    _own_logging: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSTER_MAX_UPLOAD_BYTE", "1")
    # No client can be made of it, so each process ends after its warnings.
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "nothing")
    start()
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in (out + err).splitlines() if line.startswith("{")]
    warned = [line for line in lines if line["action"] == "unknown_variable"]
    assert [(line["level"], line["variable"], line["nearest"]) for line in warned] == [
        ("WARNING", "MUSTER_MAX_UPLOAD_BYTE", "MUSTER_MAX_UPLOAD_BYTES")
    ]
    assert "Did you mean MUSTER_MAX_UPLOAD_BYTES?" in warned[0]["message"]
