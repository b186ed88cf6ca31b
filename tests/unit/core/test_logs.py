"""Logs: JSON lines with an action, without secrets; one line for each request."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.observability.logs import JsonFormatter, configure_logging
from core.observability.redaction import HIDDEN, Redactor, secrets_of
from tests.support.api_stand import MP4, running_api
from tests.support.configuration import api_config

KEY = "cGxhbnRlZCBzdG9yYWdlIGtleSBvZiB0aGUgdGVzdA=="
API_KEY = "muster_0123456789abcdef_" + "s3cret-_" * 5 + "abc"


@pytest.fixture
def restored() -> Iterator[None]:
    """Puts the loggers back as they were."""
    loggers = [
        logging.getLogger(name) for name in (None, "uvicorn", "uvicorn.error", "uvicorn.access")
    ]
    before = [(log, log.handlers[:], log.propagate, log.level, log.filters[:]) for log in loggers]
    for log in loggers[1:]:
        # A server that another test has made leaves its own level behind.
        log.setLevel(logging.NOTSET)
    yield
    for log, handlers, propagate, level, filters in before:
        log.handlers[:], log.propagate, log.filters[:] = handlers, propagate, filters
        log.setLevel(level)


def test_a_line_says_what_when_and_with_which_facts() -> None:
    record = logging.makeLogRecord(
        {
            "name": "worker.step",
            "levelname": "INFO",
            "msg": "job %s",
            "args": ("a",),
            "created": 1780306200.5,
        }
    )
    record.action, record.job_id, record.path = "job_done", "a", Path("/x")
    line = json.loads(JsonFormatter(worker="w1").format(record))
    assert line == {
        "at": "2026-06-01T09:30:00.500Z",
        "level": "INFO",
        "logger": "worker.step",
        "message": "job a",
        "worker": "w1",
        "action": "job_done",
        "job_id": "a",
        "path": "/x",
    }


def test_every_line_has_an_action_and_is_one_line(restored: None) -> None:
    stream = io.StringIO()
    logging.getLogger("uvicorn").handlers = [logging.StreamHandler(stream)]
    logging.getLogger("uvicorn").propagate = False
    configure_logging("INFO", stream=stream)
    logging.getLogger("api.x").info("one\ntwo", extra={"action": "mine"})
    logging.getLogger("uvicorn.error").info("Started")
    logging.getLogger("somewhere.else").warning("careful")
    try:
        raise ValueError("it\nbroke")
    except ValueError:
        logging.getLogger("api.x").exception("failed", extra={"action": "broken"})
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["action"] for line in lines] == ["mine", "server", "library", "broken"]
    assert "ValueError: it\nbroke" in lines[3]["error"]


def test_the_servers_own_lines_about_requests_are_silent(restored: None) -> None:
    stream = io.StringIO()
    configure_logging("INFO", stream=stream)
    logging.getLogger("uvicorn.access").info('%s - "GET /x?ticket=abc" 200', "127.0.0.1")
    logging.getLogger("uvicorn.error").info(
        '%s - "WebSocket %s" [accepted]', "127.0.0.1", "/ws/jobs/a?ticket=abc"
    )
    assert stream.getvalue() == ""
    assert not logging.getLogger("uvicorn.access").hasHandlers()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey={KEY};BlobEndpoint=x", KEY),
        ("https://a.blob.core.windows.net/c/b?sv=2025&sig=aBc%2F%3D&se=2026", "aBc%2F%3D"),
        ("GET /b?x=1&token=hunter2hunter2 HTTP", "hunter2hunter2"),
        ("/ws/jobs/a?ticket=ticket_" + "t" * 43, "t" * 43),
        ("Authorization: Bearer eyJhbGciOi.J9.abc-_", "eyJhbGciOi.J9.abc-_"),
        ("Authorization: SharedKey devstore:c2lnbmF0dXJl", "c2lnbmF0dXJl"),
        ("mongodb://muster:hunter2@db:27017/x", "hunter2"),
        (f"key {API_KEY} is bad", "s3cret-_"),
        ('{"url": "https://h/x?a=1\\u0026sig=abcdefg"}', "abcdefg"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, secret: str) -> None:
    shown = Redactor()(text)
    assert secret not in shown and HIDDEN in shown


@pytest.mark.parametrize(
    "text",
    [
        "job accepted",
        "detect:3",
        "the key is fine",
        "https://example.org/a?b=c",
        "12:30:05",
        "a@b.example",
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert Redactor(["a secret text"])(text) == text


def test_known_secrets_are_hidden_however_they_are_written() -> None:
    secret = 'pass"word/with+signs='
    hide = Redactor([secret])
    for written in (f"is {secret}.", json.dumps({"a": secret}), "x=pass%22word%2Fwith%2Bsigns%3D"):
        assert "word" not in hide(written)


def test_the_secrets_of_a_configuration_are_known() -> None:
    made = api_config(
        storage_connection=f"AccountName=a;AccountKey={KEY};BlobEndpoint=http://x",
        mongo_uri="mongodb://muster:pass-word@db/x",
        webhook_secret="planted webhook secret",
    )
    assert set(secrets_of(made.storage, made.database, made.webhooks)) == {
        KEY,
        "pass-word",
        "planted webhook secret",
    }
    sas = "sv=2025-01-01&sig=abc%3D"
    signed = api_config(storage_connection=f"BlobEndpoint=https://x;SharedAccessSignature={sas}")
    assert secrets_of(signed.storage, signed.database) == (sas,)
    plain = api_config()
    assert secrets_of(plain.storage, plain.database, plain.webhooks) == ()
    assert "planted" not in repr(made)
    assert KEY not in repr(made) and "pass-word" not in repr(made)


async def test_each_request_is_one_line_without_its_query(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "api.request_log")
    async with running_api() as api:
        await api.submit(("herd.mp4", MP4))
        await api.client.get("/api/v1/jobs?camera=x&sig=planted")
        await api.client.get("/api/v1/jobs/none?sig=planted")
        await api.client.get("/health/live?sig=planted")
        await api.client.get("/nowhere/planted-not")
    lines: list[Any] = [
        record for record in caplog.records if getattr(record, "action", "") == "request"
    ]
    assert [(line.method, line.path, line.status) for line in lines] == [
        ("POST", "/api/v1/jobs", 202),
        ("GET", "/api/v1/jobs", 200),
        ("GET", "/api/v1/jobs/none", 404),
        ("GET", "/nowhere/planted-not", 404),
    ]
    assert lines[2].route == "/api/v1/jobs/{job_id}"
    assert all(line.seconds >= 0 and line.bytes > 0 for line in lines)
    assert "sig=" not in caplog.text


async def test_websockets_are_a_line_as_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "api.request_log")
    async with running_api() as api:
        await api.add_job("a", state="failed")
        await api.follow("a")
    line: Any
    (line,) = [record for record in caplog.records if getattr(record, "action", "") == "websocket"]
    assert (line.method, line.path) == ("WEBSOCKET", "/ws/jobs/a")


@pytest.mark.parametrize(
    "char",
    [
        "\x7f",
        "\x80",
        "\x85",
        "\x9b",
        "\u2028",
        "\u2029",
        "\u202e",
        "\u2066",
        "\u200b",
        "\ufeff",
        "\ud800",
        "\xad",
    ],
)
def test_what_terminals_obey_and_nobody_sees_is_written_as_its_number(char: str) -> None:
    record = logging.makeLogRecord(
        {"name": "api.x", "levelname": "INFO", "msg": f"a{char}b", "created": 0.0}
    )
    record.path, record.exc_info = f"/{char}", (ValueError, ValueError(char), None)
    text = JsonFormatter(worker=char).format(record)
    assert char not in text and len(text.splitlines()) == 1 and f"a\\u{ord(char):04x}b" in text
    line = json.loads(text.encode())
    assert (line["message"], line["path"], line["worker"]) == (f"a{char}b", f"/{char}", char)


def test_letters_of_every_script_are_written_as_they_are() -> None:
    record = logging.makeLogRecord(
        {"name": "api.x", "levelname": "INFO", "msg": "Бизон 牛 \U0001f9ac é", "created": 0.0}
    )
    assert "Бизон 牛 \U0001f9ac é" in JsonFormatter().format(record)
