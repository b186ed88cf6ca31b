"""The export of spans to an OTLP receiver. Loaded only if one is configured."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from core.observability.tracing import OWN

LAST_S = 3.0
"""Seconds for which the end of a process waits for a receiver that does not respond."""


class OwnRoots(Sampler):
    """Starts a trace only with a span of Muster's own.

    An SDK's polls, sweeps and health checks start none, so an idle process sends nothing.
    """

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide about a span without a parent."""
        own = bool(attributes and attributes.get(OWN))
        return SamplingResult(
            Decision.RECORD_AND_SAMPLE if own else Decision.DROP, attributes if own else None
        )

    def get_description(self) -> str:
        """Return the sampler's name."""
        return "OwnRoots"


def provider_of(exporter: SpanExporter, *, service: str, instance: str) -> TracerProvider:
    """Return a provider that sends spans in batches from a separate thread."""
    resource = Resource.create(
        {"service.name": service, "service.namespace": "muster", "service.instance.id": instance}
    )
    provider = TracerProvider(
        resource=resource, sampler=ParentBased(OwnRoots()), shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def start_export(endpoint: str, *, service: str, instance: str) -> Callable[[], None]:
    """Record and send spans from now on.

    Headers, time-outs and batches follow OpenTelemetry's own variables.

    Returns:
        A function that sends the remaining spans, for a few seconds at most.
    """
    # The exporter adds the path only to an endpoint that it reads itself, and it does not read
    # `.env` files.
    provider = provider_of(
        OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces"),
        service=service,
        instance=instance,
    )
    trace.set_tracer_provider(provider)

    def stop() -> None:
        # The wait is short, so that an unreachable collector does not prevent a worker from
        # stopping.
        ending = threading.Thread(target=provider.shutdown, name="last-spans", daemon=True)
        ending.start()
        ending.join(LAST_S)

    return stop
