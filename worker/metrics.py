"""The Prometheus metrics of a worker, and a trace span for each step."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from core.domain.message import JobMessage
from core.errors import InvalidInput
from core.observability.tracing import Attribute, note, span
from worker.metrics_server import serve_metrics

if TYPE_CHECKING:
    from worker.settle import Settlement

logger = logging.getLogger(__name__)

_STEP_BUCKETS = (0.1, 0.5, 2, 10, 30, 60, 300, 1800, 7200)
_STAGE_BUCKETS = (0.01, 0.05, 0.2, 1, 5, 20, 60, 300, 1800)


class WorkerMetrics:
    """The metrics of one worker, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        self.steps = counter(
            "muster_worker_steps",
            "Messages by step and settlement.",
            ("step", "outcome"),
        )
        self.step_seconds = histogram(
            "muster_worker_step_seconds",
            "Time from a message's receipt to its settlement.",
            ("step",),
            buckets=_STEP_BUCKETS,
        )
        self.stage_seconds = histogram(
            "muster_worker_stage_seconds",
            "Time of one call of the engine.",
            ("stage",),
            buckets=_STAGE_BUCKETS,
        )
        self.frames = counter("muster_worker_frames", "Frames detected or rendered.", ("step",))
        self.frames_per_second = gauge(
            "muster_worker_frames_per_second",
            "Frames per second of the last step of its kind that ended.",
            ("step",),
        )
        self.redeliveries = counter(
            "muster_worker_redeliveries",
            "Messages that had been delivered before: released, or their worker ended.",
            ("step",),
        )
        self.lease_losses = counter(
            "muster_worker_lease_losses", "Messages whose lease was lost while they were processed."
        )
        self.full_disks = counter(
            "muster_worker_full_disks",
            "Tries of steps that wait for room on a full disk.",
            ("step",),
        )
        self.poisoned = counter(
            "muster_worker_messages_poisoned", "Messages moved to the poison queue.", ("step",)
        )
        self.set_aside = counter(
            "muster_worker_messages_set_aside",
            "Messages released unprocessed: from a newer release, or from another installation.",
            ("kind",),
        )
        self.webhooks = counter(
            "muster_worker_webhook_tries",
            "Webhook delivery tries by outcome.",
            ("outcome",),
        )

    def serve(self, host: str, port: int) -> int:
        """Serve the metrics at `/metrics` until the process ends. Return the port.

        Raises:
            InvalidInput: The port cannot be listened on (code `metrics_port_unusable`).
        """
        try:
            bound = serve_metrics(self.registry, host, port)
        except OSError as error:
            sentence = (
                f"Metrics cannot be served on {host}:{port} ({error.strerror}). Set "
                "MUSTER_METRICS_PORT to a free port, or unset it."
            )
            raise InvalidInput(sentence, code="metrics_port_unusable") from error
        logger.info(
            "metrics are served", extra={"action": "metrics_served", "host": host, "port": bound}
        )
        return bound

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure one call of the engine, and record it as a span."""
        began_s = time.perf_counter()
        try:
            with span(f"engine {name}"):
                yield
        finally:
            self.stage_seconds.labels(name).observe(time.perf_counter() - began_s)


class Observation:
    """The outcome of one message, filled in while it is processed."""

    def __init__(self) -> None:
        self.outcome = "broken"
        self.is_lost = False
        self.frames = 0

    def settled(self, how: Settlement, *, is_lost: bool, frames: int) -> None:
        """Record how a message is settled, and how many frames were processed."""
        self.outcome, self.is_lost, self.frames = "lost" if is_lost else how.kind, is_lost, frames


@contextmanager
def observed(
    metrics: WorkerMetrics, message: JobMessage, *, delivery_count: int
) -> Iterator[Observation]:
    """Count the outcome of a message, and record its processing as a span of its trace."""
    seen, began_s = Observation(), time.perf_counter()
    if delivery_count > 1:
        metrics.redeliveries.labels(message.step).inc()
    facts: dict[str, Attribute | None] = {
        "job_id": message.job_id,
        "attempt": message.attempt,
        "segment": message.segment,
        "delivery": delivery_count,
    }
    try:
        with span(f"step {message.step}", parent=message.traceparent, kind="consumer", **facts):
            try:
                yield seen
            finally:
                note(outcome=seen.outcome)
    finally:
        seconds = time.perf_counter() - began_s
        metrics.steps.labels(message.step, seen.outcome).inc()
        metrics.step_seconds.labels(message.step).observe(seconds)
        if seen.is_lost:
            metrics.lease_losses.inc()
        if seen.outcome == "poison":
            metrics.poisoned.labels(message.step).inc()
        if seen.frames and seen.outcome == "complete":
            metrics.frames.labels(message.step).inc(seen.frames)
            metrics.frames_per_second.labels(message.step).set(seen.frames / max(seconds, 1e-9))
