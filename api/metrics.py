"""Figures for Prometheus, in a registry of each application's own: two applications in one process do not mix."""

from __future__ import annotations

import logging

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from core.errors import MusterError
from core.ports import Ports

logger = logging.getLogger(__name__)


class Metrics:
    """What the API counts."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self.registry = CollectorRegistry()
        self.requests = Counter("muster_http_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry)
        self.seconds = Histogram(
            "muster_http_request_seconds",
            "Time from a request's head to the end of its answer.",
            ("route",),
            buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600),
            registry=self.registry,
        )
        self.upload_bytes = Counter("muster_upload_bytes", "Bytes of video in accepted jobs.", registry=self.registry)
        self.jobs_accepted = Counter("muster_jobs_accepted", "Jobs accepted.", registry=self.registry)
        self.queue_messages = Gauge("muster_queue_messages", "Messages, leased ones included.", ("queue",), registry=self.registry)

    async def render(self) -> bytes:
        """Return all figures in Prometheus' text format. A queue that does not answer is left out, not reported as empty."""
        for name, queue in (("main", self._ports.queue), ("detect", self._ports.detect_queue)):
            try:
                depth = await queue.depth()
            except MusterError as error:
                self.queue_messages.clear()
                logger.warning("queue depth unknown", extra={"action": "depth_unknown", "queue": name, "code": error.code})
            else:
                self.queue_messages.labels(name).set(depth.messages)
        return generate_latest(self.registry)
