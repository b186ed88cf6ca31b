"""A job's events over a WebSocket: status as it changes, then the tracks frame by frame."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from api.access import CallerDep
from api.services import Services, services_of
from api.views import job_summary
from core.domain.access import Caller
from core.domain.job import Job
from core.errors import NotFound, TransientError, Unauthenticated
from core.services.query import track_frames
from core.services.submission.submit import job_of

router = APIRouter()

UNKNOWN_JOB = 4404
TRY_AGAIN_LATER = 1013
NORMAL = 1000
CREDENTIAL_ENDED = 4401
BEAT_S = 5.0
"""How often an open WebSocket's key is looked up again: so long can one stay open after the key was
revoked.
"""


@dataclass(frozen=True, slots=True)
class Close:
    """With what a WebSocket is closed: a code, and a reason for programs."""

    code: int
    reason: str = ""


@router.websocket("/ws/jobs/{job_id}")
async def job_events(socket: WebSocket, job_id: str, caller: CallerDep) -> None:
    """Sends `{type: "status", payload: job}`, the job as listings show it, now and after each
    change; when the job has completed, `{type: "tracks", payload: frame}` for each frame with
    tracks; then closes with 1000. Closes with 4404 for an unknown job, 1013 while
    storage or database is away, and 4401 when the key or token has ended that opened it, or that
    made its ticket: its reason is `token_expired` or `key_expired` at that moment, or `key_revoked`
    within five seconds.

    Where a key is needed, browsers first get a ticket from `POST /api/v1/tickets`; other clients
    may send the key as a header.
    """
    services = services_of(socket)
    await socket.accept()
    try:
        # A token is taken until a minute after its end, because clocks differ; a WebSocket ends
        # with it.
        services.keys.check_end(caller)
    except Unauthenticated as error:
        await socket.close(CREDENTIAL_ENDED, error.code)
        return
    tasks = (
        asyncio.create_task(_tell(socket, services, job_id, caller.sees)),
        asyncio.create_task(until_refused(services, caller)),
        # Whoever only listens would never notice that the other side left.
        asyncio.create_task(_until_left(socket)),
    )
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    close, told = (
        next((outcome for outcome in outcomes if isinstance(outcome, Close)), None),
        outcomes[0],
    )
    if close is not None:
        with suppress(WebSocketDisconnect):  # a client that has left hears nothing
            await socket.close(close.code, close.reason)
    elif isinstance(told, Exception) and not isinstance(told, WebSocketDisconnect):
        raise told


async def _tell(socket: WebSocket, services: Services, job_id: str, owner: str | None) -> Close:
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
        return Close(UNKNOWN_JOB)
    except TransientError:
        return Close(TRY_AGAIN_LATER)
    return Close(NORMAL if job.is_terminal else UNKNOWN_JOB)


async def _send_status(socket: WebSocket, services: Services, job: Job) -> None:
    await socket.send_json(
        {"type": "status", "payload": job_summary(job, services).model_dump(mode="json")}
    )


async def until_refused(
    services: Services, caller: Caller, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> Close:
    """Return how to close once the caller's key or token is no longer good: at its own end, or at
    most `BEAT_S` after a revocation.
    """
    while True:
        ends = caller.ends_at_utc
        left_s = BEAT_S if ends is None else (ends - services.clock()).total_seconds()
        await sleep(max(0.0, min(BEAT_S, left_s)))
        try:
            await services.keys.check_again(caller)
        except Unauthenticated as error:
            return Close(CREDENTIAL_ENDED, error.code)
        except TransientError:
            # A caller that cannot be checked is not let on, either; it may connect again.
            return Close(TRY_AGAIN_LATER)


async def _until_left(socket: WebSocket) -> None:
    try:
        while True:
            await socket.receive()
    except (WebSocketDisconnect, RuntimeError):
        # Starlette raises RuntimeError where a receive follows the message that said goodbye.
        return
