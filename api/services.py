"""The services that the routes use: one bundle per application, made when it starts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from api.access import Access
from api.metrics import Metrics
from api.pace import Paces
from api.readiness import Readiness
from api.watch import JobWatchers
from core.config.processes import ApiConfig
from core.domain.clock import Clock
from core.errors import ForeignStorage, MusterError, StorageFull, Unavailable
from core.ports import Ports
from core.services.access.keys import Keys
from core.services.access.limits import Limits, detector_names
from core.services.access.open_bodies import OpenBodies
from core.services.access.quotas import Quotas
from core.services.attempts.dispatch import Dispatcher
from core.services.housekeeping.keeper import Housekeeping
from core.services.query import ProgressMeter
from core.services.submission.submit import Submissions
from core.services.submission.uploads import Uploads
from core.services.webhooks import Webhooks

logger = logging.getLogger(__name__)

_FULL_DISK_SHOWN = timedelta(minutes=5)


class Services:
    """The use cases on one set of ports.

    Args:
        config: The process's configuration.
        ports: Adapters, or the substitutes of tests.
        clock: The clock.
        opened: Whether the ports are already open.
    """

    def __init__(self, config: ApiConfig, ports: Ports, clock: Clock, *, opened: bool) -> None:
        self.limits = Limits(
            config.submissions.max_upload_bytes,
            config.submissions.max_files,
            config.housekeeping.upload_minutes,
            detector_names(config.detectors.detectors),
        )
        self.ports = ports
        self.clock = clock
        self._full_disk: tuple[datetime, StorageFull] | None = None
        self._opened = asyncio.Event()
        self._decided = asyncio.Event()
        self._refusal: ForeignStorage | None = None
        if opened:
            self._opened.set()
            self._decided.set()
        self.dispatcher = Dispatcher(ports)
        self.keys = Keys(ports.keys, clock)
        self.access = Access(
            config.access,
            self.keys,
            ready=self.require_open,
            share=max(8, config.port.connections // 4),
        )
        self.quotas = Quotas(
            ports.jobs,
            ports.keys,
            clock,
            day_bytes=config.quotas.quota_day_bytes,
            active_jobs=config.quotas.quota_jobs,
            links=config.quotas.quota_links,
        )
        self.submissions = Submissions(
            ports, self.dispatcher, self.limits, clock, quotas=self.quotas
        )
        self.uploads = Uploads(ports, self.submissions, self.limits, clock, self.quotas)
        self.webhook_rules = config.webhooks.rules
        self.webhooks = Webhooks(ports, self.dispatcher, self.webhook_rules, clock)
        rules = config.housekeeping.rules(config.queues)
        self.housekeeping = Housekeeping(ports, self.dispatcher, clock, rules)
        self._sweep_s = config.housekeeping.sweep_s
        self.published_storage_key = config.storage.published_storage_key
        self.meter = ProgressMeter()
        self.watchers = JobWatchers(ports.jobs)
        self.metrics = Metrics(ports, clock)
        self.paces = Paces(
            idle_s=config.port.idle_s,
            least_bytes_per_s=config.port.least_bytes_per_s,
            bodies=OpenBodies(config.port.open_submissions),
        )
        self.readiness = Readiness(ports, lambda: self.opened)

    def note(self, error: MusterError) -> None:
        """Record an error of a request. `/health` shows a full disk for some minutes."""
        if isinstance(error, StorageFull):
            self._full_disk = (self.clock(), error)

    @property
    def full_disk(self) -> StorageFull | None:
        """The error of the latest request that met a full disk in the last minutes, if any."""
        met_at, error = self._full_disk or (self.clock(), None)
        return error if self.clock() - met_at <= _FULL_DISK_SHOWN else None

    @property
    def opened(self) -> bool:
        """Whether all ports have been opened."""
        return self._opened.is_set()

    @property
    def refusal(self) -> Unavailable | None:
        """The error if the storage and the database belong to different installations; else None.

        The error does not name the installations.
        """
        if self._refusal is None:
            return None
        return Unavailable(
            "This server's storage and database do not belong together. "
            "Its log says which installations they belong to and what to do.",
            code=self._refusal.code,
        )

    async def wait_open(self, at_most_s: float) -> bool:
        """Wait until all ports are open, for at most `at_most_s`. Return whether they are open.

        Raises:
            ForeignStorage: Storage and database do not belong together. The process must not start.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._decided.wait()
        if self._refusal is not None:
            raise self._refusal
        return self.opened

    def require_open(self) -> Services:
        """Return self once all ports are open.

        Raises:
            Unavailable: Storage or database has not responded since the start.
        """
        if self.refusal is not None:
            raise self.refusal
        if not self.opened:
            raise not_open()
        return self

    async def keep_open(
        self, *, first_s: float = 0.25, longest_s: float = 10.0, cleaning_s: float = 10.0
    ) -> None:
        """Open the ports, with retries, then run the sweeper until the task is cancelled."""
        pause_s = first_s
        while not self.opened:
            from core.bootstrap import (  # imports every adapter's SDK
                close_ports,
                open_ports,
            )

            try:
                await open_ports(self.ports)
            except ForeignStorage as error:
                if self._refusal is None:
                    logger.error(
                        error.message, extra={"action": "storage_refused", "code": error.code}
                    )
                self._refusal = error
                self._decided.set()
                # `separate` may assign other names meanwhile. A connection that remained open would
                # use the former queues.
                await close_ports(self.ports)
                await asyncio.sleep(longest_s)
            except MusterError as error:
                logger.warning(
                    "storage or database is unavailable: %s",
                    error.message,
                    extra={"action": "open_failed", "code": error.code},
                )
                await asyncio.sleep(pause_s)
                pause_s = min(longest_s, pause_s * 2)
            else:
                self._refusal = None
                self._opened.set()
                self._decided.set()
                logger.info("storage and database are open", extra={"action": "ports_opened"})
        await asyncio.gather(self._clean(cleaning_s), self._sweep())

    async def _clean(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            await self.submissions.retry_cleaning()

    async def _sweep(self) -> None:
        while self._sweep_s:
            # A random pause keeps instances from sweeping at the same moment.
            await asyncio.sleep(self._sweep_s * random.uniform(0.75, 1.25))
            try:
                await self.housekeeping.run()
            except MusterError:
                # The sweeper has logged the error. It continues at the next run.
                continue
            except Exception:
                # Unforeseen. An API that continued without its sweeper would leave accepted jobs
                # stuck.
                logger.exception("sweeping broke", extra={"action": "sweep_broken"})


def not_open() -> Unavailable:
    """The error of a request before storage and database have responded."""
    return Unavailable(
        "Storage or database has not responded yet. Retry in a few seconds.", code="not_open"
    )


def services_of(connection: HTTPConnection) -> Services:
    """Return the application's services, open or not."""
    services: Services = connection.app.state.services
    return services


def open_services_of(connection: HTTPConnection) -> Services:
    """Return the application's services.

    Raises:
        Unavailable: They are not open yet.
    """
    return services_of(connection).require_open()


AnyServices = Annotated[Services, Depends(services_of)]
OpenServices = Annotated[Services, Depends(open_services_of)]
