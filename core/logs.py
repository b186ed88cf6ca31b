"""Logs as JSON, one object a line, each with a stable `action`."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

# What every log record has by itself; the rest came from `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# Libraries that tell of every request at INFO.
_CHATTY = ("azure", "aiosqlite", "httpx", "pymongo", "urllib3")


class JsonFormatter(logging.Formatter):
    """Formats a record as `{"at", "level", "logger", "message", "action", …, "error"}`; what `extra` holds becomes keys.

    Args:
        fields: Keys that every line carries, such as the worker's id.
    """

    def __init__(self, **fields: Any) -> None:
        super().__init__()
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        """Return one line without line breaks."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, Any] = {"at": at, "level": record.levelname, "logger": record.name, "message": record.getMessage(), **self._fields}
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure_logging(level: str, *, stream: TextIO | None = None, **fields: Any) -> None:
    """Send all logs of this process to one stream as JSON lines.

    Args:
        level: Name of the least level shown, such as `INFO`.
        stream: Where to; default: standard output.
        fields: Keys that every line carries.
    """
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter(**fields))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
