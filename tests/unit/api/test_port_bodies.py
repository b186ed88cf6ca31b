"""The pace of bodies, and the places that they take: in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from api.pace import PacedBody, Paces, Slow
from api.problems import HttpError
from core.errors import Throttled
from core.services.access.open_bodies import OpenBodies, OpenBody
from tests.support.api_stand import running_api
from tests.support.virtual_time import run_virtually


def paces(*, idle_s: float = 30, rate: float = 1024, limit: int = 128) -> Paces:
    now = asyncio.get_running_loop().time
    return Paces(
        idle_s=idle_s, least_bytes_per_s=rate, bodies=OpenBodies(limit, monotonic=now), now=now
    )


def sending(*pieces: tuple[float, int]) -> Callable[[], Any]:
    """Return a server's `receive`: each piece comes so many seconds after it was first asked for,
    and none afterwards.
    """
    left = list(pieces)
    coming: asyncio.Future[dict[str, Any]] | None = None

    async def piece() -> dict[str, Any]:
        if not left:
            await asyncio.Future()
        after_s, size = left.pop(0)
        await asyncio.sleep(after_s)
        return {"type": "http.request", "body": bytes(size), "more_body": True}

    async def receive() -> dict[str, Any]:
        nonlocal coming
        if coming is None:
            coming = asyncio.ensure_future(piece())
        # As a server's: who is cancelled while it waits loses nothing.
        message = await asyncio.shield(coming)
        coming = None
        return message

    return receive


async def read(body: PacedBody, *, at_most: int = 10_000) -> tuple[str, float, int]:
    """Read until the body is refused; return the code, the time it took and the bytes."""
    began_s, size = asyncio.get_running_loop().time(), 0
    for _ in range(at_most):
        try:
            size += len((await body.receive())["body"])
        except HttpError as error:
            return error.code, round(asyncio.get_running_loop().time() - began_s, 3), size
    return "read", round(asyncio.get_running_loop().time() - began_s, 3), size


def test_a_body_that_stands_is_given_up() -> None:
    async def run() -> tuple[str, float, int]:
        return await read(PacedBody(paces(), sending((0, 100), (29, 100)), ("owner a",)))

    assert run_virtually(run()) == ("body_idle", 59, 200)


@pytest.mark.parametrize(
    ("every_s", "size", "expected"),
    [
        (29, 1, ("body_too_slow", 60, 2)),
        (1, 100, ("body_too_slow", 60, 5900)),
        (1, 1100, ("read", 200, 220_000)),
        (25, 40_000, ("read", 5000, 8_000_000)),
    ],
    ids=["a byte now and then", "a trickle", "a slow line", "a line that stalls"],
)
def test_a_body_has_a_least_rate(
    every_s: float, size: int, expected: tuple[str, float, int]
) -> None:
    async def run() -> tuple[str, float, int]:
        return await read(
            PacedBody(paces(), sending(*[(every_s, size)] * 200), ("owner a",)), at_most=200
        )

    code, seconds, read_bytes = run_virtually(run())
    assert (code, read_bytes) == (expected[0], expected[2])
    assert seconds == pytest.approx(expected[1], abs=1)


def test_the_time_that_storage_takes_is_not_the_clients() -> None:
    async def run() -> str:
        body = PacedBody(paces(), sending(*[(0.01, 5)] * 20), ("owner a",))
        for _ in range(20):
            await body.receive()
            await asyncio.sleep(100)
        return "read"

    assert run_virtually(run()) == "read"


def test_a_body_that_moves_keeps_its_place_and_one_that_stands_loses_it() -> None:
    async def run() -> tuple[str, int, int]:
        shared = paces(limit=3)
        standing = PacedBody(shared, sending((0, 1)), ("owner a", "address x"))
        moving = [
            PacedBody(shared, sending(*[(1, 5000)] * 20), ("owner a", "address x"))
            for _ in range(2)
        ]
        for body in (standing, *moving):
            body.take_place()
        tasks = [asyncio.create_task(read(body, at_most=20)) for body in (standing, *moving)]
        late = PacedBody(shared, sending(), ("owner a", "address x"))
        await asyncio.sleep(2.5)
        with pytest.raises(Throttled) as refused:
            late.take_place()
        assert refused.value.code == "too_many_open_submissions"
        assert refused.value.retry_after_s > 0
        await asyncio.sleep(1.2)
        late.take_place()
        code, seconds, size = await tasks[0]
        assert (code, size) == ("body_idle", 1)
        assert seconds == pytest.approx(3.7, abs=0.1)
        return code, (await tasks[1])[2], (await tasks[2])[2]

    assert run_virtually(run()) == ("body_idle", 100_000, 100_000)


def test_a_small_body_takes_a_place_only_when_it_is_waited_for() -> None:
    async def run() -> list[int]:
        shared = paces()
        quick = PacedBody(shared, sending((0.1, 10), (0.1, 10)), ("owner a",))
        seen = [await read(quick, at_most=2) and len(shared.bodies)]
        slow = PacedBody(shared, sending((1.5, 10)), ("owner a",))
        await slow.receive()
        seen.append(len(shared.bodies))
        slow.leave()
        return [*seen, len(shared.bodies)]

    assert run_virtually(run()) == [0, 1, 0]


def test_places_are_counted_by_owner_and_by_address() -> None:
    bodies = OpenBodies(2, monotonic=lambda: 0.0)
    for owner in ("a", "b"):
        bodies.enter(OpenBody((f"owner {owner}", "address x"), lambda: None))
    with pytest.raises(Throttled):
        bodies.enter(OpenBody(("owner c", "address x"), lambda: None))
    other = OpenBody(("owner a", "address y"), lambda: None)
    bodies.enter(other)
    with pytest.raises(Throttled):
        bodies.enter(OpenBody(("owner a", "address z"), lambda: None))
    bodies.leave(other)
    bodies.enter(OpenBody(("owner a", "address z"), lambda: None))
    assert len(bodies) == 3


async def test_a_form_beyond_the_places_is_told_so() -> None:
    async with running_api(open_submissions=1) as api:
        assert (await api.submit()).status_code == 202
        bodies = api.app.state.services.paces.bodies
        assert len(bodies) == 0, "a place stays taken"
        bodies.enter(OpenBody(("address 127.0.0.1",), lambda: None))
        refused = await api.submit()
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_open_submissions")
        assert int(refused.headers["retry-after"]) > 0
        assert refused.headers["content-type"] == "application/problem+json"
        assert (
            'muster_clients_cut_off_total{reason="too_many_open_submissions"} 1.0'
            in (await api.client.get("/metrics")).text
        )


@pytest.mark.parametrize(
    "path",
    ["/api/v1/jobs", "/submit-job", "/api/v1/calibrations", "/api/v1/uploads", "/api/v1/tickets"],
)
@pytest.mark.parametrize(
    "kind", ["application/json", "multipart/form-data; boundary=muster", "application/octet-stream"]
)
async def test_a_slow_body_is_408_whatever_reads_it(
    path: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(_: PacedBody) -> dict[str, Any]:
        raise Slow("No byte of the body came for too long. Send the request again.", "body_idle")

    monkeypatch.setattr(PacedBody, "receive", slow)
    async with running_api() as api:
        answer = await api.client.post(path, content=b"x" * 10, headers={"Content-Type": kind})
        assert len(api.app.state.services.paces.bodies) == 0
        assert await api.films() == []
    if answer.status_code == 415:
        assert kind.startswith(("application/octet", "application/json"))
        return
    assert (answer.status_code, answer.json()["code"]) == (408, "body_idle")
    assert answer.headers["connection"].lower() == "close"
