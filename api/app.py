"""The application: routes, errors, lifespan."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
from collections.abc import AsyncGenerator, Callable
from typing import Any

from fastapi import FastAPI

from api import problems
from api.document import TAGS, document, operation_id
from api.framing import Framing
from api.gate import Cors, Door, Identified
from api.middleware import Faults, Figures, Pace, SecurityHeaders, SmallBodies
from api.port import guarded_port
from api.request_log import RequestLog
from api.revocation import Revocation
from api.routes import (
    artifacts,
    calibrations,
    compat,
    events,
    health,
    jobs,
    keys,
    reference,
    stats,
    tickets,
    uploads,
    webhooks,
)
from api.services import Services
from core.config.processes import ApiConfig
from core.config.telemetry import TraceSection
from core.domain.clock import Clock, utc_now
from core.observability.tracing import Stop
from core.ports import Ports
from core.version import muster_version

FIRST_OPEN_S = 3.0
"""How long the start waits for storage and database. After that, the API serves without them."""

DESCRIPTION = """Counts bison, cattle and persons in uploaded video.

Submit a recording with `POST /api/v1/jobs`, follow the job, then fetch its results. Every error is
a problem detail (RFC 9457) with a stable `code`."""


_ROUTES = (
    jobs,
    artifacts,
    uploads,
    webhooks,
    calibrations,
    stats,
    compat,
    health,
    events,
    keys,
    tickets,
    reference,
)
_OUTERMOST_LAST = (
    SmallBodies,
    Revocation,
    Pace,
    Identified,
    Cors,
    Door,
    Framing,
    Faults,
    SecurityHeaders,
    Figures,
    RequestLog,
)


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = document(super().openapi())
        return self.openapi_schema


def create_app(
    config: ApiConfig | None = None,
    ports: Ports | None = None,
    clock: Clock = utc_now,
    *,
    on_config: Callable[[ApiConfig], None] | None = None,
) -> FastAPI:
    """Return a new application. It reads, opens and connects to nothing before it starts.

    Args:
        config: Configuration; default: read from the environment at the start.
        ports: Open ports, which are used and not closed; default: made and opened from the
            configuration.
        clock: The clock.
        on_config: Called with the configuration at the start, before anything else is done.
    """
    app = _App(
        title="Muster",
        version=muster_version(),
        description=DESCRIPTION,
        lifespan=lambda app: _lifespan(app, config, ports, clock, on_config),
        openapi_tags=TAGS,
        generate_unique_id_function=operation_id,
        redirect_slashes=False,
        docs_url=None,  # FastAPI's pages load scripts from a CDN
        redoc_url=None,
        # FastAPI's own instrumentation records whole query strings and exceptions. The code creates
        # the spans that matter itself.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    for middleware in _OUTERMOST_LAST:
        app.add_middleware(middleware)
    problems.install(app)
    for module in _ROUTES:
        app.include_router(module.router)
    return app


@contextlib.asynccontextmanager
async def _lifespan(
    app: FastAPI,
    config: ApiConfig | None,
    ports: Ports | None,
    clock: Clock,
    on_config: Callable[[ApiConfig], None] | None,
) -> AsyncGenerator[None]:
    config = config or ApiConfig.read()
    if on_config is not None:
        on_config(config)
    given = ports is not None
    if ports is None:
        from core.bootstrap import (
            make_ports,
        )  # imports the SDKs of every adapter, which is not needed when the ports are given

        ports = make_ports(config)
    stop_tracing = _start_tracing(config.traces) if not given else None
    services = Services(config, ports, clock, opened=given)
    app.state.services = services
    keeper = asyncio.create_task(services.keep_open())
    try:
        if not given:
            await services.wait_open(FIRST_OPEN_S)
        with guarded_port(config.port, services.metrics):
            yield
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        if not given:
            from core.bootstrap import close_ports

            await close_ports(ports)
        if stop_tracing is not None:
            await asyncio.to_thread(stop_tracing)


def _start_tracing(traces: TraceSection) -> Stop:
    from core.bootstrap import start_tracing

    return start_tracing(traces, service="muster-api", instance=f"{platform.node()}-{os.getpid()}")
