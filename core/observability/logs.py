"""Logs as JSON without secrets: one object per line, each with a stable `action`."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TextIO

from core.observability.redaction import Redactor
from core.observability.tracing import trace_id

# The attributes that every log record has. The others came from `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}
# Libraries that log every request at INFO.
_CHATTY = ("azure", "aiosqlite", "httpx", "pymongo", "urllib3")
_SERVER = "uvicorn"
# Characters that JSON leaves unescaped but that a terminal or a line reader interprets: DEL and C1
# controls, line and paragraph separators, characters that change the direction of text or have no
# width. Surrogates are included, because they cannot be written at all.
_UNSEEN = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]"
)


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object.

    The object is `{"at", "level", "logger", "message", "action", …, "trace_id", "error"}`; the
    items of `extra` become keys. Records of libraries have the action `library`, those of the HTTP
    server `server`.

    Args:
        secrets: Texts that must not appear; `core.observability.redaction` lists what else is
            hidden.
        fields: Keys that every line carries, such as the worker's id.
    """

    def __init__(self, *, secrets: Iterable[str] = (), **fields: Any) -> None:
        super().__init__()
        self._fields = fields
        self._redact = Redactor(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """Return one line without line breaks."""
        at = (
            datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z")
        )
        line: dict[str, object] = {
            "at": at,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._fields,
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        line.setdefault(
            "action", "server" if record.name.partition(".")[0] == _SERVER else "library"
        )
        trace = trace_id()
        if trace is not None:
            line["trace_id"] = trace
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        # In JSON, such characters occur in strings only, where an escape has the same meaning.
        return _UNSEEN.sub(
            _numbered, self._redact(json.dumps(line, default=str, ensure_ascii=False))
        )


def _numbered(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def configure_logging(
    level: str, *, stream: TextIO | None = None, secrets: Iterable[str] = (), **fields: Any
) -> None:
    """Send all logs of this process to one stream as JSON lines, including the HTTP server's.

    Args:
        level: Name of the lowest level shown, such as `INFO`.
        stream: The target; default: standard output.
        secrets: Texts that must not appear.
        fields: Keys that every line carries.
    """
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter(secrets=secrets, **fields))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in (_SERVER, f"{_SERVER}.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    # The API itself logs requests, without the query of their URL.
    access = logging.getLogger(f"{_SERVER}.access")
    access.handlers.clear()
    access.propagate = False
    errors = logging.getLogger(f"{_SERVER}.error")
    errors.filters = [item for item in errors.filters if not isinstance(item, _NoConnections)]
    errors.addFilter(_NoConnections())


class _NoConnections(logging.Filter):
    """Drops the HTTP server's lines about WebSockets, which contain complete URLs."""

    def filter(self, record: logging.LogRecord) -> bool:
        return '"WebSocket' not in str(record.msg)
