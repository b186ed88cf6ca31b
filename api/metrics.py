"""The Prometheus metrics of the API, in a registry per application.

Two applications in one process therefore do not share metrics.
"""

from __future__ import annotations

import logging
import math
from datetime import timedelta
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from core.domain.clock import Clock
from core.errors import MusterError
from core.ports import Ports
from core.services.housekeeping.unclaimed import noted_unclaimed

logger = logging.getLogger(__name__)


class Metrics:
    """The API's counters, and the gauges of queues and store, which are read on request.

    Args:
        ports: The queues and jobs.
        clock: The clock.
    """

    def __init__(self, ports: Ports, clock: Clock) -> None:
        self._ports = ports
        self._clock = clock
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        self.requests = counter(
            "muster_http_requests", "Requests answered.", ("method", "route", "status")
        )
        self.seconds = histogram(
            "muster_http_request_seconds",
            "Time from a request's head to the end of its response.",
            ("route",),
            buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600),
        )
        self.upload_bytes = counter("muster_upload_bytes", "Bytes of video in accepted jobs.")
        self.jobs_accepted = counter("muster_jobs_accepted", "Jobs accepted.")
        self.queue_messages = gauge(
            "muster_queue_messages", "Messages, leased ones included.", ("queue",)
        )
        self.queue_age = gauge(
            "muster_queue_age_seconds",
            "Age of the oldest message that a worker could receive now; 0: no such message.",
            ("queue",),
        )
        self.poison_messages = gauge(
            "muster_poison_messages", "Messages in the poison queue.", ("queue",)
        )
        self.silence = gauge(
            "muster_job_silence_seconds",
            "Longest time without activity of any active job; 0: no job is active.",
        )

        self.ended = counter(
            "muster_clients_cut_off",
            "Connections and bodies that a limit of the port ended.",
            ("reason",),
        )
        self.open_connections = gauge("muster_open_connections", "Connections that are open.")
        self.unclaimed = {
            unit: gauge(
                f"muster_unclaimed_{unit}",
                f"{unit.capitalize()} in storage without a record, tombstone or marker in "
                "the database.",
            )
            for unit in ("blobs", "bytes")
        }

    async def render(self) -> bytes:
        """Return all metrics in Prometheus' text format.

        Metrics of a part that does not respond are left out, not reported as zero.
        """
        await self._ask_store()
        for name, queue in (("main", self._ports.queue), ("detect", self._ports.detect_queue)):
            try:
                depth = await queue.depth()
            except MusterError as error:
                for gauge in (self.queue_messages, self.queue_age, self.poison_messages):
                    gauge.remove_by_labels({"queue": name})
                logger.warning(
                    "queue depth unknown",
                    extra={"action": "depth_unknown", "queue": name, "code": error.code},
                )
            else:
                waits = (
                    self._clock() - depth.oldest_at_utc
                    if depth.oldest_at_utc is not None
                    else timedelta(0)
                )
                self.queue_messages.labels(name).set(depth.messages)
                self.queue_age.labels(name).set(max(0.0, waits.total_seconds()))
                self.poison_messages.labels(name).set(depth.poisoned)
        return generate_latest(self.registry)

    async def _ask_store(self) -> None:
        now = self._clock()
        try:
            silent = await self._ports.jobs.stalled(heartbeat_before=now, limit=1)
            unclaimed = await noted_unclaimed(self._ports.ledger)
        except MusterError as error:
            for gauge in (self.silence, *self.unclaimed.values()):
                gauge.set(math.nan)
            logger.warning(
                "silence of jobs unknown", extra={"action": "silence_unknown", "code": error.code}
            )
        else:
            self.silence.set(
                max(0.0, (now - silent[0].heartbeat_at_utc).total_seconds()) if silent else 0.0
            )
            for unit, gauge in self.unclaimed.items():
                # The unclaimed blobs are unknown until the first walk through storage has ended.
                counted = unclaimed.get(unit)
                gauge.set(counted if isinstance(counted, int | float) else math.nan)
