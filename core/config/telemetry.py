"""The sections of logs, metrics and traces."""

from __future__ import annotations

import logging
from typing import ClassVar

from pydantic import field_validator

from core.config.variables import Section, variable


class LogSection(Section):
    """What a process writes to its log."""

    title: ClassVar[str] = "Logs"

    log_level: str = variable(
        "INFO", "Lowest level of log lines: `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`."
    )

    @field_validator("log_level")
    @classmethod
    def _is_a_level(cls, value: str) -> str:
        if value.upper() not in logging.getLevelNamesMapping():
            raise ValueError("give DEBUG, INFO, WARNING, ERROR or CRITICAL")
        return value.upper()


class TraceSection(Section):
    """Where traces are sent."""

    title: ClassVar[str] = "Traces"

    otlp_endpoint: str | None = variable(
        None,
        "Where traces are sent by OTLP over HTTP, such as `http://collector:4318`.",
        names=("OTEL_EXPORTER_OTLP_ENDPOINT",),
        default_text="no traces",
    )


class MetricsSection(Section):
    """Where a worker serves its metrics to Prometheus."""

    title: ClassVar[str] = "Metrics"

    metrics_port: int | None = variable(
        None,
        "Port on which a worker serves `/metrics`. 0: any free port.",
        ge=0,
        le=65535,
        default_text="no metrics",
    )
    metrics_host: str = variable("127.0.0.1", "Address on which a worker serves `/metrics`.")
