"""The API as a process over TCP, on real Azurite and SQLite: what stand-ins cannot show."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import websockets.exceptions
import websockets.sync.client

from core.adapters.azure.blob import AzureBlobStore
from core.adapters.azure.queue import AzureJobQueue
from core.domain.blobs import LINK_SUFFIX
from core.domain.identity import MARK_BLOB
from core.domain.message import JobMessage
from infra.azurite_server import AzuriteServer
from tests.support.api_stand import MP4
from tests.support.raw_upload import CONTENT_TYPE, HEAD, post_video
from tests.support.stack import Stack
from tests.unit.core.test_telemetry import srt_of

MIB = 2**20
LARGE = MP4 + bytes(range(256)) * (4 * 9 * MIB // 1024)
LIMIT_BYTES = 64 * MIB
SRT = srt_of(
    *("[latitude: 48.1] [longitude: 11.5] [rel_alt: 50.0 abs_alt: 549.6]" for _ in range(5000)),
    step_s=0.01,
)


@pytest.fixture(scope="module")
def stack(
    azurite: AzuriteServer,
    tmp_path_factory: pytest.TempPathFactory,
    unique_name: Callable[[str], str],
) -> Iterator[Stack]:
    stack = Stack(
        azurite,
        tmp_path_factory.mktemp("api"),
        unique_name,
        {"MUSTER_MAX_UPLOAD_BYTES": str(LIMIT_BYTES)},
    )
    stack.start_api()
    yield stack
    stack.client.close()
    stack.api.stop()


def sources(stack: Stack) -> AzureBlobStore:
    return AzureBlobStore(
        container=stack.env["BLOB_CONTAINER_INPUT"],
        connection_string=stack.env["AZURE_STORAGE_CONNECTION_STRING"],
    )


def blob_names(stack: Stack) -> list[str]:
    """Return the names of all sources, without the container's mark and the markers of upload
    links, which stay while the links work.
    """

    async def read() -> list[str]:
        store = sources(stack)
        await store.open()
        try:
            names = [blob.name async for blob in store.list_blobs("")]
            return [name for name in names if name != MARK_BLOB and not name.endswith(LINK_SUFFIX)]
        finally:
            await store.close()

    return asyncio.run(read())


def read_blob(stack: Stack, name: str) -> bytes:
    async def read() -> bytes:
        store = sources(stack)
        await store.open()
        try:
            return await store.get(name)
        finally:
            await store.close()

    return asyncio.run(read())


def wait_until_blobs_are(stack: Stack, expected: list[str]) -> None:
    deadline = time.monotonic() + 10
    while blob_names(stack) != expected:
        assert time.monotonic() < deadline, blob_names(stack)
        time.sleep(0.1)


def clear(stack: Stack) -> None:
    for job in stack.client.get("/api/v1/jobs", params={"limit": 200}).json()["items"]:
        assert stack.client.delete(f"/api/v1/jobs/{job['id']}").status_code == 204
    assert blob_names(stack) == []


def test_a_large_upload_is_stored_byte_for_byte_and_its_message_sent(stack: Stack) -> None:
    answer = stack.client.post(
        "/api/v1/jobs", files={"file": ("herd.mp4", LARGE)}, data={"settings": '{"only": "bison"}'}
    )
    assert answer.status_code == 202
    job = answer.json()

    async def read() -> tuple[bytes, bytes]:
        store = sources(stack)
        queue = AzureJobQueue(
            queue=stack.env["QUEUE_NAME"],
            connection_string=stack.env["AZURE_STORAGE_CONNECTION_STRING"],
            account_url=None,
        )
        await store.open()
        await queue.open()
        try:
            lease = await queue.receive(visibility=timedelta(seconds=30))
            assert lease is not None
            await queue.complete(lease)
            return await store.get(f"jobs/{job['id']}/source/000"), lease.body
        finally:
            await store.close()
            await queue.close()

    content, body = asyncio.run(read())
    assert content == LARGE
    message = JobMessage.from_bytes(body)
    assert (message.job_id, message.step, message.attempt) == (job["id"], "plan", 1)
    assert stack.client.get(answer.headers["location"]).json()["files"] == [
        {"name": "herd.mp4", "size_bytes": len(LARGE), "telemetry": None}
    ]
    clear(stack)


def test_a_declared_size_over_the_limit_is_refused_before_a_byte_is_sent(stack: Stack) -> None:
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        connection.sendall(
            b"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000000000\r\n"
            + f"Content-Type: {CONTENT_TYPE}\r\n\r\n".encode()
        )
        head = connection.recv(65_536)
    assert head.startswith(b"HTTP/1.1 413 ")
    assert blob_names(stack) == []


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/submit-job"])
def test_what_is_no_video_is_refused_over_a_real_connection(stack: Stack, path: str) -> None:
    for content, status in ((b"", 422), (b"text\n" * 1000, 415), (b"text\n" * MIB, 415)):
        answer = stack.client.post(path, files={"file": ("video.mp4", content)})
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
    wait_until_blobs_are(stack, [])


def test_a_client_that_goes_away_mid_way_leaves_nothing(stack: Stack) -> None:
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        connection.sendall(
            b"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50000000\r\n"
            + f"Content-Type: {CONTENT_TYPE}\r\n\r\n".encode()
            + HEAD
            + LARGE[: 6 * MIB]
        )
    time.sleep(0.3)
    wait_until_blobs_are(stack, [])
    assert stack.client.get("/api/v1/jobs").json()["items"] == []


def test_a_body_cut_off_between_its_files_leaves_nothing(stack: Stack) -> None:
    whole = HEAD + MP4 + b"\r\n" + HEAD + LARGE
    answer = stack.client.post(
        "/api/v1/jobs", content=whole[: len(whole) - 100], headers={"Content-Type": CONTENT_TYPE}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "body_cut_off")
    wait_until_blobs_are(stack, [])


def test_a_key_makes_one_job_of_two_requests(stack: Stack) -> None:
    sent: dict[str, Any] = {
        "files": {"file": ("herd.mp4", MP4)},
        "headers": {"Idempotency-Key": "integration"},
    }
    first, again = (stack.client.post("/api/v1/jobs", **sent) for _ in range(2))
    assert (first.status_code, again.status_code, again.headers["idempotency-replayed"]) == (
        202,
        202,
        "true",
    )
    assert blob_names(stack) == [f"jobs/{first.json()['id']}/source/000"]
    clear(stack)


def test_a_direct_upload_becomes_a_job(stack: Stack) -> None:
    link = stack.client.post(
        "/api/v1/uploads", json={"name": "a.mp4", "size_bytes": len(LARGE)}
    ).json()
    assert (
        httpx.request(
            link["method"], link["url"], headers=link["headers"], content=LARGE, timeout=60
        ).status_code
        == 201
    )
    answer = stack.client.post(
        "/api/v1/jobs", json={"upload_ids": [link["upload_id"]], "names": ["a.mp4"]}
    )
    assert answer.status_code == 202
    assert answer.json()["files"] == [
        {"name": "a.mp4", "size_bytes": len(LARGE), "telemetry": None}
    ]
    assert blob_names(stack) == [f"jobs/{answer.json()['id']}/source/000"]
    clear(stack)


def test_telemetry_lies_beside_its_video_and_goes_with_it(stack: Stack) -> None:
    sent = [
        ("file", ("DJI_1.MP4", MP4)),
        ("file", ("DJI_2.MP4", LARGE)),
        ("telemetry", ("DJI_2.SRT", SRT)),
    ]
    answer = stack.client.post("/api/v1/jobs", files=sent)
    assert answer.status_code == 202
    first, second = answer.json()["files"]
    assert (first["telemetry"], second["telemetry"]["samples"], second["telemetry"]["dialect"]) == (
        None,
        5000,
        "bracket",
    )
    prefix = f"jobs/{answer.json()['id']}"
    assert blob_names(stack) == [
        f"{prefix}/source/000",
        f"{prefix}/source/001",
        f"{prefix}/telemetry/000.srt",
    ]
    assert read_blob(stack, f"{prefix}/telemetry/000.srt") == SRT
    clear(stack)


def test_telemetry_that_is_none_leaves_nothing_of_its_video(stack: Stack) -> None:
    answer = stack.client.post(
        "/api/v1/jobs",
        files=[("file", ("a.mp4", LARGE)), ("telemetry", ("a.srt", b"notes\n" * 1000))],
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "telemetry_not_srt")
    wait_until_blobs_are(stack, [])


def test_video_and_telemetry_put_directly_become_a_job(stack: Stack) -> None:
    ids = []
    for content in (LARGE, SRT):
        link = stack.client.post("/api/v1/uploads", json={"size_bytes": len(content)}).json()
        assert (
            httpx.request(
                link["method"], link["url"], headers=link["headers"], content=content, timeout=60
            ).status_code
            == 201
        )
        ids.append(link["upload_id"])
    answer = stack.client.post(
        "/api/v1/jobs", json={"upload_ids": ids[:1], "telemetry_upload_ids": ids[1:]}
    )
    assert answer.status_code == 202
    assert answer.json()["files"][0]["telemetry"]["samples"] == 5000
    prefix = f"jobs/{answer.json()['id']}"
    assert blob_names(stack) == [f"{prefix}/source/000", f"{prefix}/telemetry/000.srt"]
    clear(stack)


def test_a_stored_calibration_is_kept_by_the_job_that_asked_for_it(stack: Stack) -> None:
    points = {
        "image_points": [[0, 0], [640, 0], [640, 480], [0, 480]],
        "ground_points": [[0, 48], [64, 48], [64, 0], [0, 0]],
    }
    assert stack.client.put("/api/v1/calibrations/north camera", json=points).status_code == 201
    answer = stack.client.post(
        "/api/v1/jobs",
        files={"file": ("a.mp4", MP4)},
        data={"settings": '{"calibration": "north camera"}'},
    )
    assert answer.status_code == 202
    assert stack.client.delete("/api/v1/calibrations/north camera").status_code == 204
    kept = stack.client.get(answer.headers["location"]).json()["settings"]["calibration"]
    assert kept == {**points, "unit": "m", "name": "north camera"}
    assert (
        stack.client.get("/api/v1/calibrations/north camera").json()["code"]
        == "calibration_not_found"
    )
    clear(stack)


def test_ranges_of_a_published_file_are_those_bytes(stack: Stack) -> None:
    from core.adapters.sqlite import SqliteDatabase, SqliteJobStore
    from core.domain.clock import utc_now

    job_id = stack.client.post("/api/v1/jobs", files={"file": ("herd.mp4", MP4)}).json()["id"]

    async def publish() -> None:
        store = AzureBlobStore(
            container=stack.env["BLOB_CONTAINER_OUTPUT"],
            connection_string=stack.env["AZURE_STORAGE_CONNECTION_STRING"],
        )
        jobs = SqliteJobStore(SqliteDatabase(stack.base / "data" / "muster.sqlite3"))
        await store.open()
        await jobs.open()
        try:
            await store.put(f"jobs/{job_id}/results/r0001/annotated.mp4", LARGE)
            changes = {
                "state": "completed",
                "result_revision": "r0001",
                "artifacts": ("annotated.mp4",),
            }
            await jobs.update(
                job_id, attempt=1, expected=("queued",), at=utc_now(), changes=changes
            )
        finally:
            await store.close()
            await jobs.close()

    asyncio.run(publish())
    url = f"/api/v1/jobs/{job_id}/artifacts/annotated.mp4"
    assert stack.client.get(url).content == LARGE
    size = len(LARGE)
    for asked, start, end in (
        ("bytes=5-10", 5, 11),
        (f"bytes={size - 3}-", size - 3, size),
        ("bytes=-5000000", size - 5_000_000, size),
    ):
        answer = stack.client.get(url, headers={"Range": asked})
        assert (answer.status_code, answer.content == LARGE[start:end]) == (206, True)
    clear(stack)


def test_events_come_over_a_real_web_socket(stack: Stack) -> None:
    job_id = stack.client.post("/api/v1/jobs", files={"file": ("herd.mp4", MP4)}).json()["id"]
    with websockets.sync.client.connect(f"ws://127.0.0.1:{stack.port}/ws/jobs/{job_id}") as socket_:
        first = json.loads(socket_.recv(timeout=10))
        assert (first["type"], first["payload"]["state"]) == ("status", "queued")
        stack.client.post(f"/api/v1/jobs/{job_id}/cancel")
        assert json.loads(socket_.recv(timeout=10))["payload"]["state"] == "cancelled"
        with pytest.raises(websockets.exceptions.ConnectionClosedOK) as closed:
            socket_.recv(timeout=10)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1000
    with websockets.sync.client.connect(
        f"ws://127.0.0.1:{stack.port}/ws/jobs/{'0' * 32}"
    ) as socket_:
        with pytest.raises(websockets.exceptions.ConnectionClosedError) as refused:
            socket_.recv(timeout=10)
        assert refused.value.rcvd is not None and refused.value.rcvd.code == 4404
    clear(stack)


def test_a_client_that_stops_reading_an_answer_harms_nothing(stack: Stack) -> None:
    status, body = post_video(stack.port, [LARGE], len(LARGE))
    assert status == 202
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        connection.sendall(b"GET /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert stack.client.get(json.loads(body)["links"]["self"]).status_code == 200
    clear(stack)


def test_an_api_that_starts_while_storage_is_away_is_live_and_not_ready(
    azurite: AzuriteServer, tmp_path, unique_name
) -> None:
    stack = Stack(
        azurite,
        tmp_path,
        unique_name,
        {
            "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string.replace(
                "127.0.0.1", "127.0.0.2"
            )
        },
    )
    stack.api.start()
    try:
        stack.api.wait_ready(lambda: _answers(stack, "/health/live"), timeout_s=60)
        assert stack.client.get("/health/ready").status_code == 503
        refused = stack.client.post("/api/v1/jobs", files={"file": ("herd.mp4", MP4)})
        assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (
            503,
            "not_open",
            "5",
        )
    finally:
        stack.client.close()
        stack.api.stop()


def _answers(stack: Stack, path: str) -> bool:
    try:
        return stack.client.get(path).status_code == 200
    except httpx.TransportError:
        return False
