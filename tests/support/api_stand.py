"""A whole API on stand-ins of the ports: what the tests of the routes talk to."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI

from api.app import create_app
from api.readiness import Readiness
from api.watch import JobWatchers
from core.domain.blobs import LINK_SUFFIX, result_blob
from core.domain.job import Job, Plan, Segment, SourceFile, VideoFacts
from core.domain.message import JobMessage
from core.errors import Unavailable
from tests.fakes import (
    MemoryPorts,
    memory_ports,
)
from tests.support.configuration import api_config

BASE_URL = "http://127.0.0.1"
"""In-process clients tell the application that they arrived at this address, and name it as `Host`."""

START_UTC = datetime(2026, 6, 1, 9, 30, tzinfo=UTC)
MP4 = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41" + bytes(range(256)) * 20
"""Begins like an mp4; nothing in the API looks further."""


class SteppedClock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.now_utc = START_UTC

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now_utc

    def step(self, seconds: float) -> None:
        """Go on."""
        self.now_utc += timedelta(seconds=seconds)


@dataclass
class ApiStand:
    """An API that runs, and what it runs on."""

    app: FastAPI
    client: httpx.AsyncClient
    ports: MemoryPorts
    clock: SteppedClock

    async def submit(
        self,
        *files: tuple[str, bytes],
        settings: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Send files as a form."""
        parts: list[tuple[str, Any]] = [
            ("file", (name, data)) for name, data in files or (("herd.mp4", MP4),)
        ]
        form = None if settings is None else {"settings": settings}
        return await self.client.post("/api/v1/jobs", files=parts, data=form, headers=headers)

    def set_away(self, part: str, away: bool) -> None:
        """Let a port answer nothing, or answer again."""
        port = getattr(self.ports, part)
        if hasattr(port, "fail_with"):
            port.fail_with = Unavailable("The service does not answer.") if away else None
        else:
            port.away = away

    async def follow(self, job_id: str) -> tuple[list[dict[str, Any]], int | None]:
        """Watch a job over its WebSocket to the end; return what was sent and the close code."""
        sent: list[dict[str, Any]] = []
        close_code = None
        opened = False

        async def receive() -> dict[str, Any]:
            nonlocal opened
            if not opened:
                opened = True
                return {"type": "websocket.connect"}
            return await asyncio.Future()

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal close_code
            if message["type"] == "websocket.send":
                sent.append(json.loads(message["text"]))
            elif message["type"] == "websocket.close":
                close_code = message["code"]

        scope = {
            "type": "websocket",
            "path": f"/ws/jobs/{job_id}",
            "raw_path": b"",
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
        }
        scope |= {"subprotocols": []}
        await self.app(
            {
                **scope,
                "scheme": "ws",
                "server": ("127.0.0.1", 80),
                "root_path": "",
                "client": ("127.0.0.1", 1),
            },
            receive,
            send,
        )
        return sent, close_code

    async def blob_names(self) -> list[str]:
        """Return the names of all blobs in both containers."""
        return [
            blob.name
            for store in (self.ports.sources, self.ports.results)
            async for blob in store.list_blobs("")
        ]

    async def films(self) -> list[str]:
        """Return the names of what was sent: blobs in the input container, markers left out."""
        return [
            blob.name
            async for blob in self.ports.sources.list_blobs("")
            if not blob.name.endswith((LINK_SUFFIX, "/submitting"))
        ]

    def messages(self) -> list[JobMessage]:
        """Return what was sent to the main queue."""
        return [JobMessage.from_bytes(body) for body in self.ports.queue.bodies()]

    async def add_job(self, job_id: str, **fields: Any) -> Job:
        """Record a job without submitting anything."""
        job = make_job(job_id, self.clock(), **fields)
        return await self.ports.jobs.add(job)

    async def publish(self, job_id: str, files: dict[str, bytes], **fields: Any) -> Job:
        """Record a completed job with these result files."""
        for name, data in files.items():
            await self.ports.results.put(result_blob(job_id, "r0001", name), data)
        plan = make_plan(frames=600, segments=2)
        done = {
            "state": "completed",
            "result_revision": "r0001",
            "artifacts": tuple(files),
            "plan": plan,
            "done_segments": (0, 1),
        }
        return await self.add_job(job_id, **{**done, **fields})


def make_plan(*, frames: int, segments: int) -> Plan:
    """Return a plan of segments of equal length."""
    each = frames // segments
    return Plan(
        video=VideoFacts(
            frames=frames, fps=30.0, width_px=1280, height_px=720, duration_s=frames / 30
        ),
        segments=tuple(
            Segment(
                index=i, file_index=0, first_frame=i * each, frames=each, file_first_frame=i * each
            )
            for i in range(segments)
        ),
        log_key="0123456789abcdef",
        detector={"name": "pasture"},
    )


def make_job(job_id: str, at: datetime, **fields: Any) -> Job:
    """Return a job of one file."""
    file = SourceFile(
        name="herd.mp4", blob=f"jobs/{job_id}/source/000", size_bytes=len(MP4), etag="1"
    )
    return Job(
        **{
            "id": job_id,
            "files": (file,),
            "created_at_utc": at,
            "updated_at_utc": at,
            "heartbeat_at_utc": at,
            **fields,
        }
    )


def make_ports(clock: SteppedClock) -> MemoryPorts:
    """Return stand-ins for all ports."""
    return memory_ports(clock)


@asynccontextmanager
async def running_api(**config: Any) -> AsyncGenerator[ApiStand]:
    """Run an API on stand-ins; `config` sets fields of the configuration."""
    clock = SteppedClock()
    ports = make_ports(clock)
    app = create_app(api_config(**config), ports, clock)
    transport = httpx.ASGITransport(app=app)

    async def one_turn(_: float) -> None:
        await asyncio.sleep(0)

    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=BASE_URL) as client,
    ):
        app.state.services.watchers = JobWatchers(ports.jobs, sleep=one_turn)
        # Each look at this clock is a second later: nothing that was found is used again.
        app.state.services.readiness = Readiness(
            ports, lambda: app.state.services.opened, itertools.count().__next__
        )
        yield ApiStand(app, client, ports, clock)


def form_body(parts: Sequence[tuple[str, str | None, bytes]], *, boundary: str = "muster") -> bytes:
    """Return a multipart body of (name, file name, content)."""
    body = b""
    for name, filename, content in parts:
        shown = "" if filename is None else f'; filename="{filename}"'
        body += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'.encode()
            + content
            + b"\r\n"
        )
    return body + f"--{boundary}--\r\n".encode()
