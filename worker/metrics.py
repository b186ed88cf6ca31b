"""What a worker counts, for Prometheus, and each step as a span of its job's trace."""

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
    """Counters of one worker, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        self.steps = counter(
            "muster_worker_steps",
            "Messages by step and by how they were settled.",
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
        self.frames = counter(
            "muster_worker_frames", "Frames that were detected or rendered.", ("step",)
        )
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
            "muster_worker_lease_losses", "Messages that were lost while they were worked on."
        )
        self.full_disks = counter(
            "muster_worker_full_disks",
            "Steps that wait for room on a full disk, each try.",
            ("step",),
        )
        self.poisoned = counter(
            "muster_worker_messages_poisoned", "Messages that were given up.", ("step",)
        )
        self.set_aside = counter(
            "muster_worker_messages_set_aside",
            "Messages that were given back unread: of a newer release, or of another installation.",
            ("kind",),
        )
        self.webhooks = counter(
            "muster_worker_webhook_tries",
            "Tries to deliver a webhook, by how they went.",
            ("outcome",),
        )

    def serve(self, host: str, port: int) -> int:
        """Show the figures at `/metrics` until the process ends; return the port.

        Raises:
            InvalidInput: The port cannot be listened on (code `metrics_port_unusable`).
        """
        try:
            bound = serve_metrics(self.registry, host, port)
        except OSError as error:
            sentence = f"Figures cannot be shown on {host}:{port} ({error.strerror}). Set MUSTER_METRICS_PORT to a free port, or unset it."
            raise InvalidInput(sentence, code="metrics_port_unusable") from error
        logger.info(
            "figures are shown", extra={"action": "metrics_served", "host": host, "port": bound}
        )
        return bound

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure one call of the engine, and make it a span."""
        began_s = time.perf_counter()
        try:
            with span(f"engine {name}"):
                yield
        finally:
            self.stage_seconds.labels(name).observe(time.perf_counter() - began_s)


class Observation:
    """What became of one message; filled while it is processed."""

    def __init__(self) -> None:
        self.outcome = "broken"
        self.is_lost = False
        self.frames = 0

    def settled(self, how: Settlement, *, is_lost: bool, frames: int) -> None:
        """Take note of how a message is settled, and of the frames that were done."""
        self.outcome, self.is_lost, self.frames = "lost" if is_lost else how.kind, is_lost, frames


@contextmanager
def observed(
    metrics: WorkerMetrics, message: JobMessage, *, delivery_count: int
) -> Iterator[Observation]:
    """Count what happens to a message inside, and make it a span of the trace that the message
    carries.
    """
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
