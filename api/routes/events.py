"""A job's events over a WebSocket: status as it changes, then the tracks frame by frame."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from api.access import CallerDep
from api.services import Services, services_of
from api.views import job_view
from core.domain.access import Caller
from core.domain.job import Job
from core.errors import NotFound, TransientError, Unauthenticated
from core.services.query import track_frames
from core.services.submit import job_of

router = APIRouter()

UNKNOWN_JOB = 4404
TRY_AGAIN_LATER = 1013
NORMAL = 1000
NOT_ALLOWED = 1008
BEAT_S = 5.0
"""How often an open WebSocket's key is looked up again: so long can one stay open after the key was revoked."""


@router.websocket("/ws/jobs/{job_id}")
async def job_events(socket: WebSocket, job_id: str, caller: CallerDep) -> None:
    """Sends `{type: "status", payload: job}` now and after each change; when the job has completed, `{type: "tracks", payload: frame}` for
    each frame with tracks; then closes with 1000. Closes with 4404 for an unknown job, 1013 while storage or database is away, and 1008
    within seconds of the revocation of the key that opened it, or that made its ticket.

    Where a key is needed, browsers first get a ticket from `POST /api/v1/tickets`; other clients may send the key as a header.
    """
    services = services_of(socket)
    await socket.accept()
    tasks = (
        asyncio.create_task(_tell(socket, services, job_id, caller.sees)),
        asyncio.create_task(_until_refused(services, caller)),
        # Whoever only listens would never notice that the other side left.
        asyncio.create_task(_until_left(socket)),
    )
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    code, told = next((outcome for outcome in outcomes if isinstance(outcome, int)), None), outcomes[0]
    if code is not None:
        with suppress(WebSocketDisconnect):  # a client that has left hears nothing
            await socket.close(code)
    elif isinstance(told, Exception) and not isinstance(told, WebSocketDisconnect):
        raise told


async def _tell(socket: WebSocket, services: Services, job_id: str, owner: str | None) -> int:
    try:
        services.require_open()
        job = await job_of(services.ports, job_id, owner=owner)
        async with aclosing(services.watchers.changes(job_id)) as changes:
            async for job in changes:
                await _send_status(socket, services, job)
                if job.is_terminal:
                    break
        if job.state == "completed" and "results" not in job.expired:
            async with aclosing(track_frames(services.ports, job)) as frames:
                async for frame in frames:
                    await socket.send_json({"type": "tracks", "payload": frame})
    except NotFound:
        return UNKNOWN_JOB
    except TransientError:
        return TRY_AGAIN_LATER
    return NORMAL if job.is_terminal else UNKNOWN_JOB


async def _send_status(socket: WebSocket, services: Services, job: Job) -> None:
    await socket.send_json({"type": "status", "payload": job_view(job, services).model_dump(mode="json")})


async def _until_refused(services: Services, caller: Caller) -> int:
    while True:
        await asyncio.sleep(BEAT_S)
        try:
            await services.keys.check_again(caller)
        except Unauthenticated:
            return NOT_ALLOWED
        except TransientError:
            # Whoever cannot be checked is not let on, either; they may come again.
            return TRY_AGAIN_LATER


async def _until_left(socket: WebSocket) -> None:
    try:
        while True:
            await socket.receive()
    except (WebSocketDisconnect, RuntimeError):
        # Starlette raises RuntimeError where a receive follows the message that said goodbye.
        return
