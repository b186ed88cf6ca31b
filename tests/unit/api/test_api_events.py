"""Following a job over its WebSocket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.api_stand import ApiStand, make_plan, running_api

JOB = "a" * 32
TRACKS = """frame,time_s,track_id,class,score,x1,y1,x2,y2,interpolated,ground_x,ground_y,ground_error_m
0,0.0,1,bison,0.9,1.0,2.0,3.0,4.0,0,,,
0,0.0,2,cattle,0.8,5.0,6.0,7.0,8.0,1,10.5,-2.5,1.25
3,0.1,1,bison,0.7,1.5,2.5,3.5,4.5,0,,,
"""


@pytest.fixture
async def api():
    async with running_api() as stand:
        stand.ports.results.piece_bytes = 7
        yield stand


async def test_a_completed_job_tells_its_state_then_its_tracks_by_frame(api: ApiStand) -> None:
    await api.publish(JOB, {"tracks.csv": TRACKS.encode()})
    sent, code = await api.follow(JOB)

    assert code == 1000
    assert [message["type"] for message in sent] == ["status", "tracks", "tracks"]
    assert (sent[0]["payload"]["id"], sent[0]["payload"]["state"]) == (JOB, "completed")
    bison = {
        "track_id": 1,
        "class": "bison",
        "score": 0.9,
        "xyxy": [1.0, 2.0, 3.0, 4.0],
        "interpolated": False,
    }
    cattle = {
        "track_id": 2,
        "class": "cattle",
        "score": 0.8,
        "xyxy": [5.0, 6.0, 7.0, 8.0],
        "interpolated": True,
    }
    bison |= {"ground": None, "ground_error_m": None}
    cattle |= {"ground": [10.5, -2.5], "ground_error_m": 1.25}
    assert sent[1]["payload"] == {"frame": 0, "time_s": 0.0, "tracks": [bison, cattle]}
    assert (
        sent[2]["payload"]["frame"],
        sent[2]["payload"]["time_s"],
        len(sent[2]["payload"]["tracks"]),
    ) == (3, 0.1, 1)


async def test_changes_are_told_as_they_happen_and_heartbeats_are_not(api: ApiStand) -> None:
    await api.add_job(JOB, plan=make_plan(frames=600, segments=2))
    followers = [asyncio.create_task(api.follow(JOB)) for _ in range(3)]
    jobs = api.ports.jobs

    async def settle() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    await settle()
    assert api.app.state.services.watchers.polled == (JOB,)
    for changes in ({"state": "detecting"}, {"done_segments": (0,)}, {"done_segments": (0, 1)}):
        await jobs.update(
            JOB, attempt=1, expected=("queued", "detecting"), at=api.clock(), changes=changes
        )
        await settle()
        api.clock.step(1)
        await jobs.touch(JOB, attempt=1, at=api.clock())
        await settle()
    await jobs.update(
        JOB, attempt=1, expected=("detecting",), at=api.clock(), changes={"state": "cancelled"}
    )

    for sent, code in await asyncio.gather(*followers):
        assert code == 1000
        told = [(m["payload"]["state"], m["payload"]["progress"]["frames_done"]) for m in sent]
        assert told == [
            ("queued", 0),
            ("detecting", 0),
            ("detecting", 300),
            ("detecting", 600),
            ("cancelled", 600),
        ]
    await settle()
    assert api.app.state.services.watchers.polled == ()


async def test_an_unknown_job_closes_with_4404(api: ApiStand) -> None:
    await api.add_job("b" * 32, owner="somebody else")
    assert await api.follow(JOB) == ([], 4404)
    assert await api.follow("b" * 32) == ([], 4404)


async def test_a_job_that_is_deleted_while_watched_closes_with_4404(api: ApiStand) -> None:
    await api.add_job(JOB, state="queued")
    follower = asyncio.create_task(api.follow(JOB))
    for _ in range(10):
        await asyncio.sleep(0)
    await api.ports.jobs.delete(JOB)
    sent, code = await follower
    assert (len(sent), code) == (1, 4404)


async def test_a_store_that_is_away_closes_with_try_again_later(api: ApiStand) -> None:
    await api.add_job(JOB)
    api.set_away("jobs", True)
    assert await api.follow(JOB) == ([], 1013)


async def test_a_client_that_has_left_is_told_no_end() -> None:
    async with running_api() as api:
        sent: list[str] = []

        async def receive() -> dict[str, Any]:
            if not sent:
                return {"type": "websocket.connect"}
            return await asyncio.Future()

        async def send(message: Any) -> None:
            sent.append(message["type"])
            if message["type"] != "websocket.accept":
                raise OSError("The connection is gone.")

        scope = {
            "type": "websocket",
            "path": "/ws/jobs/none",
            "raw_path": b"",
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
        }
        more = {
            "subprotocols": [],
            "scheme": "ws",
            "server": ("127.0.0.1", 80),
            "root_path": "",
            "client": ("127.0.0.1", 1),
        }
        await api.app({**scope, **more}, receive, send)
        assert sent == ["websocket.accept", "websocket.close"]
