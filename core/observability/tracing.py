"""Tracing: one trace from upload to result, whose context travels with jobs and messages.

Only OpenTelemetry's API is used here. It records nothing until `core.observability.tracing_export`
gives it an exporter. The context is passed on in either case, so that a client's trace does not end
at a process that records nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

OWN = "muster.span"
"""Attribute of every span that is created here.

Spans of libraries are exported only as a part of such a span.
"""

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "consumer": SpanKind.CONSUMER,
    "client": SpanKind.CLIENT,
}

Kind = Literal["internal", "server", "consumer", "client"]
Attribute = str | int | float | bool


@contextmanager
def span(
    name: str, *, parent: str | None = None, kind: Kind = "internal", **attributes: Attribute | None
) -> Iterator[None]:
    """Record the code inside as a span; tasks that start inside belong to it.

    Args:
        name: A constant. Values that vary are attributes.
        parent: W3C `traceparent` to continue; default: the enclosing span, if any.
        kind: The role of the span.
        **attributes: Facts about the span, never a secret; None is left out. Names get the prefix
            `muster.`.

    For an error, only its code or type is recorded, because sentences and stack traces may quote
    what a user sent.
    """
    context = TraceContextTextMapPropagator().extract({"traceparent": parent}) if parent else None
    facts = {f"muster.{key}": value for key, value in attributes.items() if value is not None}
    tracer = trace.get_tracer("muster")
    with tracer.start_as_current_span(
        name,
        context=context,
        kind=_KINDS[kind],
        attributes={OWN: True, **facts},
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield
        except BaseException as error:
            code = getattr(error, "code", None)
            current.set_status(
                Status(StatusCode.ERROR, code if isinstance(code, str) else type(error).__name__)
            )
            raise


def note(**attributes: Attribute) -> None:
    """Add facts to the current span."""
    trace.get_current_span().set_attributes(
        {f"muster.{key}": value for key, value in attributes.items()}
    )


def traceparent() -> str | None:
    """Return the current trace context in W3C's form, or None without one."""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


def trace_id() -> str | None:
    """Return the current trace's id, 32 hexadecimal digits, or None if nothing is recorded."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid and context.trace_flags.sampled else None


def valid_traceparent(text: str | None) -> str | None:
    """Return the trace context that a client sent, if it is valid."""
    return text if text and _TRACEPARENT.fullmatch(text) else None


Stop = Callable[[], None]
"""Sends the remaining spans and ends the recording; takes a few seconds at most."""
