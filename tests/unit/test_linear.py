"""Every pattern and scanner that reads a stranger's text takes time in proportion to its length.

A quadratic one takes 16 times as long for four times the text. Times are of this thread's
processor, the least of several tries, and a
machine under load gets more than one chance: what is quadratic fails them all.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from api.blob_answers import byte_range
from api.multipart import MultipartReader
from core.domain.message import JobMessage
from core.errors import InvalidTelemetry, MusterError
from core.observability.redaction import Redactor
from core.services.submission.files import display_name
from core.telemetry import parse_srt
from core.telemetry.cue import Cue
from ml_engine.detection.labels import column_of
from ml_engine.training.split import name_of_source
from ml_engine.video.h264 import starts_whole
from ml_engine.video.subtitles import _text
from tests.unit.test_structure import REPOSITORY, python_files

SHORT, LONG = 2048, 4 * 2048
TIMES = 8.0
SLACK_S = 0.001
"""Of a call: a quadratic one of `LONG` characters takes over 20 ms."""
TRIES = 4
CUE = "00:00:00,000 --> 00:00:01,000\n"


def longer(begin: str, middle: str, end: str = "") -> Callable[[int], str]:
    return lambda n: begin + middle * (n // len(middle)) + end


# Module and name of a pattern, and text on which it has to try most. Several where it has several
# parts that repeat.
PATTERNS: dict[str, list[Callable[[int], str]]] = {
    "api/port/heads.py:_END": [longer("", "\n"), longer("", "\r"), longer("", "\n\r")],
    "api/port/heads.py:_FRAMING": [
        longer("\ncontent-length", " ", "x"),
        longer("", "\ncontent-length"),
        longer("\ncontent-length:", " "),
    ],
    "api/blob_answers.py:_RANGE": [
        longer("bytes=", " ", "x"),
        longer("bytes=", "1", "x"),
        longer("bytes=-", "1", "x"),
    ],
    "core/adapters/mongo/connection.py:_ESCAPED": [longer("", "%"), longer("", "%2")],
    "core/adapters/mongo/connection.py:_RESERVED": [longer("", "a")],
    "core/config/reading.py:_ADDRESS": [longer("://", "a"), longer("", "://")],
    "core/config/reading.py:_KEY": [longer("AccountKey", " "), longer("", "AccountKey")],
    "core/config/reading.py:_WORD": [longer("", "a"), longer("", "a ")],
    "core/domain/access.py:_KEY": [longer("muster_", "0")],
    "core/domain/access.py:_KEY_ANYWHERE": [
        longer("", "muster_"),
        longer("muster_0123456789abcdef_", "a"),
        longer("", "muster_0123456"),
    ],
    "core/domain/access.py:_TICKET": [longer("ticket_", "a")],
    "core/domain/analysis.py:_tiles": [longer("1", "x"), longer("", "1")],
    "core/domain/blobs.py:_ID": [longer("", "a")],
    "core/domain/webhook.py:_NAME": [longer("", "a"), longer("", "a-")],
    "core/observability/logs.py:_UNSEEN": [longer("", "\x85"), longer("", "a")],
    "core/observability/redaction.py:_PATTERNS": [
        longer("", "Pwd="),
        longer("", "&sig=;"),
        longer("Bearer", " ", "a"),
        longer("", "Bearer a "),
        longer("SharedKey", " ", "a"),
        longer("SharedKey ", "a", "-"),
        longer("://", "a"),
        longer("://a:", "b:"),
        longer("", "://a:b"),
        longer("", "ticket_aaaa"),
    ],
    "core/services/submission/uploads.py:_UPLOAD_ID": [longer("", "a")],
    "core/telemetry/cue.py:_APERTURE": [
        longer("F/", "1"),
        longer("", "\n"),
        longer("", "Fnum:"),
        longer("", " F/"),
    ],
    "core/telemetry/cue.py:_BAROMETER": [
        longer("BAROMETER:", " ", "x"),
        longer("", "BAROMETER: "),
        longer("BAROMETER:1", " ", "x"),
    ],
    "core/telemetry/cue.py:_BRACKET": [
        longer("", "["),
        longer("[", "a"),
        longer("", "[" + "a" * 399),
    ],
    "core/telemetry/cue.py:_GIMBAL": [
        longer("G.PRY(1", " ", "x"),
        longer("G.PRY(1,", " ", "x"),
        longer("", "G.PRY(1 ,1 ,"),
    ],
    "core/telemetry/cue.py:_HEIGHT": [
        longer(" H", " ", "x"),
        longer("", " H "),
        longer("", "\n"),
        longer("H 1", " "),
    ],
    "core/telemetry/cue.py:_HOME": [
        longer("HOME(1,1,1", " ", "x"),
        longer("HOME(", " ", "x"),
        longer("", "HOME(1,1,1 "),
    ],
    "core/telemetry/cue.py:_PAIR": [
        longer("", "a"),
        longer("", "a:"),
        longer("a:", " "),
        longer("a:", "1", "/"),
    ],
    "core/telemetry/cue.py:_POSITION": [
        longer("GPS(1,1,1", " ", "x"),
        longer("GPS(1", " ", "x"),
        longer("", "RTK(1,1,1 "),
    ],
    "core/telemetry/srt.py:_TIMING": [
        longer("", "0:0:0,0 "),
        longer("00:00:00,000", " "),
        longer("0:0:0,0 -->", " "),
        longer("", "000:"),
    ],
    "core/observability/tracing.py:_TRACEPARENT": [longer("00-", "a")],
    "ml_engine/video/sandbox/verdicts.py:error_from": [longer("", "a")],
    "ml_engine/cli/count.py:_UPLOAD": [longer("", "upload "), longer("", "upload the video ")],
    "ml_engine/detection/runtimes/checkpoint.py:_HUB_ID": [
        longer("", "a", "!"),
        longer("a/", "a", "!"),
        longer("", "a/"),
    ],
    "ml_engine/training/split.py:_COPY": [
        longer("a.rf.", "a", "!"),
        longer("a-aug", "1", "!"),
        longer("a", "-aug", "!"),
    ],
    "ml_engine/training/split.py:_FRAME": [
        longer("", "1", "!"),
        longer("", "_1", "!"),
        longer("", "frame_", "!"),
    ],
}
"""Patterns that stand in a function have its name; the function itself is among the scanners below."""
INLINE = {"core/domain/analysis.py:_tiles", "ml_engine/video/sandbox/verdicts.py:error_from"}


def fed(text: str) -> None:
    """Read telemetry that is refused or not."""
    with contextlib.suppress(InvalidTelemetry):
        parse_srt(text.encode())


async def form(content_type: str, body: bytes) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 64):
            yield body[at : at + 64]

    async for part in MultipartReader(content_type, pieces()).parts():
        async for _ in part.chunks:
            pass


def refused(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def call(value: Any) -> None:
        with contextlib.suppress(MusterError):
            function(value)

    return call


def run(coroutine: Any) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration:
        pass
    except MusterError:
        pass


FORM = "multipart/form-data; boundary=b"
SCANNERS: dict[str, tuple[Callable[[Any], Any], Callable[[int], Any]]] = {
    "a cue of brackets": (Cue, longer("", "[latitude: 1]")),
    "a cue of spaces": (Cue, longer("GPS(1,1,1", " ", "x")),
    "a file of arrows": (fed, longer("", "-->")),
    "a file of timings": (fed, longer("", CUE)),
    "a file of half timings": (fed, longer("", "00:00:00,000 --")),
    "a file of one long cue": (fed, longer(CUE + "GPS(1,1,1", " ", "x")),
    "a file of positions": (fed, longer("", CUE + "GPS(8.2090,47.4692,18)\n")),
    "a file of line breaks": (fed, longer("", "\r\n")),
    "subtitles of commas": (lambda text: _text(text.encode(), "ass"), longer("", ",")),
    "subtitles of empty lines": (lambda text: _text(text.encode(), "srt"), longer("", "\n")),
    "units of no length": (
        lambda text: starts_whole(text.encode("latin-1"), b"\x01\0\0\0\xff"),
        longer("", "\0"),
    ),
    "start codes": (lambda text: starts_whole(text.encode("latin-1"), None), longer("", "\0\0\1")),
    "messages of 0xff": (
        lambda text: starts_whole(text.encode("latin-1"), None),
        longer("\0\0\1\6", "\xff"),
    ),
    "a queue message of brackets": (
        refused(lambda text: JobMessage.from_bytes(text.encode())),
        longer("", "["),
    ),
    "a queue message of spaces": (
        refused(lambda text: JobMessage.from_bytes(text.encode())),
        longer("", "a "),
    ),
    "a range of digits": (lambda text: byte_range(text, 100), longer("bytes=", "1", "x")),
    "a name of marks": (lambda text: name_of_source(text, True), longer("a", "-aug")),
    "a name of digits": (lambda text: name_of_source(text, True), longer("", "1", "!")),
    "a label of spaces": (column_of, longer("", "_ ")),
    "a file's name": (lambda text: display_name(text, 0), longer("", "a/")),
    "a text with addresses": (Redactor(("secretsecret",)), longer("", "secretsecre")),
    "a part of one byte lines": (
        lambda text: run(form(FORM, text.encode())),
        longer("--b\r\n\r\n", "\r\n--", "\r\n--b--"),
    ),
    "a boundary that nearly comes": (
        lambda text: run(form(FORM, text.encode())),
        longer("--b\r\n\r\n", "\r\n--\r", "\r\n--b--"),
    ),
    "a part's endless header": (
        lambda text: run(form(FORM, text.encode())),
        longer("--b\r\nX: ", "a", "\r\n\r\n\r\n--b--"),
    ),
    "parts without an end": (
        lambda text: run(form(FORM, text.encode())),
        longer("", "--b\r\n\r\n\r\n"),
    ),
    "a content type of quotes": (
        lambda text: run(form(text, b"")),
        longer('multipart/form-data; boundary="', '\\"'),
    ),
    "a content type of options": (
        lambda text: run(form(text, b"")),
        longer("multipart/form-data", ";a=b"),
    ),
}


def spent_s(function: Callable[[Any], Any], value: Any) -> float:
    """Return what a call takes of the processor, seconds: the least of three."""

    def once() -> float:
        began = time.thread_time()
        function(value)
        return time.thread_time() - began

    return min(once() for _ in range(3))


def is_linear(
    function: Callable[[Any], Any], worst: Callable[[int], Any], *, tries: int = TRIES
) -> bool:
    return any(
        spent_s(function, worst(LONG)) <= TIMES * spent_s(function, worst(SHORT)) + SLACK_S
        for _ in range(tries)
    )


def patterns_in(path: Path) -> Iterator[str]:
    """Yield the name of each pattern of a module: that of the variable, or of the function it
    stands in.
    """
    tree = ast.parse(path.read_text(), str(path))
    for top in tree.body:
        for node in ast.walk(top):
            if not (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
            ):
                continue
            if node.func.value.id == "re" and node.func.attr != "escape":
                inner = [
                    item
                    for item in ast.walk(top)
                    if isinstance(item, ast.FunctionDef) and node in ast.walk(item)
                ]
                name = inner[-1].name if inner else ast.unparse(vars(top)["targets"][0])
                yield f"{path.relative_to(REPOSITORY).as_posix()}:{name}"


def test_every_pattern_is_in_the_table() -> None:
    found = {
        name
        for path in python_files("api", "core", "worker", "ml_engine")
        for name in patterns_in(path)
    }
    assert found == set(PATTERNS)


def functions_of(name: str) -> list[Callable[[str], Any]]:
    path, _, variable = name.partition(":")
    found = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), variable)
    patterns = found if isinstance(found, tuple) else (found,)
    return [
        function for pattern in patterns for function in (_replacing(pattern), _matching(pattern))
    ]


def _replacing(pattern: re.Pattern[Any]) -> Callable[[str], Any]:
    return lambda text: pattern.sub(
        b"" if isinstance(pattern.pattern, bytes) else "", _as_read(pattern, text)
    )


def _matching(pattern: re.Pattern[Any]) -> Callable[[str], Any]:
    return lambda text: pattern.fullmatch(_as_read(pattern, text))


def _as_read(pattern: re.Pattern[Any], text: str) -> str | bytes:
    return text.encode() if isinstance(pattern.pattern, bytes) else text


@pytest.mark.parametrize("name", sorted(set(PATTERNS) - INLINE))
def test_a_pattern_takes_time_in_proportion(name: str) -> None:
    slow = [
        (number, worst(40))
        for worst in PATTERNS[name]
        for number, f in enumerate(functions_of(name))
        if not is_linear(f, worst)
    ]
    assert slow == []


@pytest.mark.parametrize("name", sorted(SCANNERS))
def test_a_scanner_takes_time_in_proportion(name: str) -> None:
    assert is_linear(*SCANNERS[name])


def test_a_quadratic_pattern_is_noticed() -> None:
    quadratic = re.compile(r"\s*[mM]?\s*\)").match
    assert any(not is_linear(quadratic, longer("", " ", "x"), tries=1) for _ in range(TRIES))
