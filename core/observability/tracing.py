"""One trace from upload to result: spans by name, and the trace context that travels with jobs and
messages.

Only OpenTelemetry's API is used here, which does nothing until `core.observability.tracing_export`
gives it an exporter. The context is handed on either way, so that a trace which a client began does
not end where this process records nothing.
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
"""Attribute of every span that is made here: what libraries record by themselves is kept only as a
part of one.
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
    """Record what happens inside as a span; tasks that are begun inside belong to it.

    Args:
        name: A constant: what differs from one to the next is an attribute.
        parent: W3C `traceparent` to go on with; default: the span around this one, if any.
        kind: Its role.
        **attributes: Facts about it, never a secret; None is left out. Names get the prefix
            `muster.`.

    Of an error, only its code or type is recorded: sentences and stack traces may quote what a user
    sent.
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
    """Add facts to the present span."""
    trace.get_current_span().set_attributes(
        {f"muster.{key}": value for key, value in attributes.items()}
    )


def traceparent() -> str | None:
    """Return the present trace context in W3C's form, or None where there is none."""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


def trace_id() -> str | None:
    """Return the present trace's id, 32 hexadecimal digits, or None where nothing is recorded."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid and context.trace_flags.sampled else None


def valid_traceparent(text: str | None) -> str | None:
    """Return what a client sent as its trace context, if it is one."""
    return text if text and _TRACEPARENT.fullmatch(text) else None


Stop = Callable[[], None]
"""Sends what is left and ends the recording; takes a few seconds at most."""
