"""The same `Idempotency-Key` sent 50 times at once, to two API processes, makes one job and one
blob; with another body it is 422.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from core.ports import JobFilter
from infra.azurite_server import AzuriteServer
from tests.support.access_stack import ApiPair
from tests.support.api_stand import MP4

AT_ONCE = 50
LARGER = MP4 + bytes(2**20)
"""More than one request to storage: staged blocks and a commit."""


@pytest.fixture(scope="module")
def apis(
    azurite: AzuriteServer,
    tmp_path_factory: pytest.TempPathFactory,
    unique_name: Callable[[str], str],
) -> Iterator[ApiPair]:
    pair = ApiPair(azurite, tmp_path_factory.mktemp("same"), unique_name, {})
    pair.start()
    yield pair
    pair.stop()


@pytest.fixture(autouse=True)
def _empty_afterwards(apis: ApiPair) -> Iterator[None]:
    yield
    with apis.client() as client:
        for job in client.get("/api/v1/jobs", params={"limit": 200}).json()["items"]:
            assert client.delete(f"/api/v1/jobs/{job['id']}").status_code == 204
    assert apis.blob_names() == []


def all_at_once(
    apis: ApiPair, send: Callable[[httpx.Client, int], httpx.Response], count: int = AT_ONCE
) -> list[httpx.Response]:
    """Send requests at once, by turns to both processes, each over a connection of its own."""

    def one(number: int) -> httpx.Response:
        with apis.client(which="ab"[number % 2]) as client:
            return send(client, number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def sources_of(apis: ApiPair) -> list[str]:
    """Return the blobs' names once refused and repeated submissions have cleaned up."""
    deadline = time.monotonic() + 60
    while len(names := apis.blob_names()) > 1 and time.monotonic() < deadline:
        time.sleep(0.2)
    return names


def recorded(apis: ApiPair) -> list[str]:
    page = apis.with_ports(lambda ports: ports.jobs.list_page(JobFilter(), limit=200))
    return [job.id for job in page.items]


@pytest.mark.parametrize("body", [MP4, LARGER], ids=["one request", "blocks"])
def test_the_same_request_50_times_at_once_makes_one_job_and_one_blob(
    apis: ApiPair, body: bytes
) -> None:
    sent: dict[str, Any] = {
        "files": {"file": ("herd.mp4", body)},
        "data": {"settings": '{"only": "bison"}'},
        "headers": {"Idempotency-Key": "fifty"},
    }
    answers = all_at_once(apis, lambda client, _: client.post("/api/v1/jobs", **sent))
    assert Counter(answer.status_code for answer in answers) == {202: AT_ONCE}, answers[0].text
    (job_id,) = {answer.json()["id"] for answer in answers}
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == AT_ONCE - 1
    assert recorded(apis) == [job_id]
    assert sources_of(apis) == [f"jobs/{job_id}/source/000"]


def test_with_another_body_it_is_422_and_changes_nothing(apis: ApiPair) -> None:
    with apis.client() as client:
        first = client.post(
            "/api/v1/jobs", files={"file": ("herd.mp4", MP4)}, headers={"Idempotency-Key": "other"}
        )
    assert first.status_code == 202
    changed: list[dict[str, Any]] = [
        {"files": {"file": ("herd.mp4", MP4 + b"x")}},
        {"files": {"file": ("flock.mp4", MP4)}},
        {"files": {"file": ("herd.mp4", MP4)}, "data": {"settings": '{"only": "cattle"}'}},
        {"files": [("file", ("herd.mp4", MP4)), ("file", ("herd.mp4", MP4))]},
    ]
    answers = all_at_once(
        apis,
        lambda client, i: client.post(
            "/api/v1/jobs", **changed[i % len(changed)], headers={"Idempotency-Key": "other"}
        ),
        12,
    )
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {
        (422, "idempotency_key_reused")
    }
    assert recorded(apis) == [first.json()["id"]]
    assert sources_of(apis) == [f"jobs/{first.json()['id']}/source/000"]


def test_of_two_bodies_at_once_one_makes_the_job_and_the_other_is_422(apis: ApiPair) -> None:
    bodies = (MP4, MP4 + b"x")
    answers = all_at_once(
        apis,
        lambda client, i: client.post(
            "/api/v1/jobs",
            files={"file": ("herd.mp4", bodies[i // 2 % 2])},
            headers={"Idempotency-Key": "either"},
        ),
        20,
    )
    assert Counter(answer.status_code for answer in answers) == {202: 10, 422: 10}
    (job_id,) = {answer.json()["id"] for answer in answers if answer.status_code == 202}
    assert recorded(apis) == [job_id]
    assert sources_of(apis) == [f"jobs/{job_id}/source/000"]


def test_the_same_direct_upload_50_times_at_once_makes_one_job_and_one_blob(apis: ApiPair) -> None:
    with apis.client() as client:
        link = client.post("/api/v1/uploads", json={"size_bytes": len(LARGER)}).json()
    assert (
        httpx.put(link["url"], headers=link["headers"], content=LARGER, timeout=60).status_code
        == 201
    )
    sent: dict[str, Any] = {
        "json": {"upload_ids": [link["upload_id"]]},
        "headers": {"Idempotency-Key": "direct"},
    }
    answers = all_at_once(apis, lambda client, _: client.post("/api/v1/jobs", **sent))
    assert Counter(answer.status_code for answer in answers) == {202: AT_ONCE}, [
        a.text for a in answers if a.status_code != 202
    ][:1]
    (job_id,) = {answer.json()["id"] for answer in answers}
    assert recorded(apis) == [job_id]
    assert sources_of(apis) == [f"jobs/{job_id}/source/000"]
