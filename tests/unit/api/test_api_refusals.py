"""Bad input over HTTP: each gets the right 4xx, a code and a sentence, and leaves no blob, no job
and no message behind.
"""

from __future__ import annotations

import asyncio
import http
from collections.abc import AsyncIterator, Iterator, MutableMapping
from typing import Any

import httpx
import pytest

from core.errors import Unavailable
from tests.support.api_stand import MP4, ApiStand, form_body, running_api

FORM = {"Content-Type": "multipart/form-data; boundary=muster"}


@pytest.fixture
async def api():
    async with running_api() as stand:
        yield stand


async def assert_refused(api: ApiStand, answer: httpx.Response, status: int, code: str) -> dict:
    """Check the answer, and that nothing was left behind."""
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["type"] == f"urn:muster:problem:{code}"
    assert problem["title"] == http.HTTPStatus(status).phrase or problem["title"]
    assert len(problem["detail"]) > 20
    assert problem["instance"] == answer.request.url.path
    assert await api.films() == []
    assert api.messages() == []
    assert (await api.client.get("/api/v1/jobs")).json()["items"] == []
    return problem


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/submit-job"])
@pytest.mark.parametrize(
    ("parts", "status", "code"),
    [
        ([("file", "empty.mp4", b"")], 422, "empty_file"),
        (
            [("file", "text.mp4", b"these are not the bytes of a video\n" * 100)],
            415,
            "unsupported_media",
        ),
        ([("file", "short.mp4", b"G")], 415, "unsupported_media"),
        ([("file", "a.mp4", MP4), ("file", "notes.txt", b"hello")], 415, "unsupported_media"),
        ([("file", "a.mp4", MP4), ("file", "b.mp4", b"")], 422, "empty_file"),
        ([("settings", None, b"{}")], 422, "missing_file"),
        ([("video", "a.mp4", MP4)], 422, "unknown_part"),
        ([("file", "a.mp4", MP4), ("extra", None, b"1")], 422, "unknown_part"),
        (
            [("settings", None, b"{}"), ("settings", None, b"{}"), ("file", "a.mp4", MP4)],
            422,
            "doubled_part",
        ),
    ],
)
async def test_a_form_that_is_no_recording(
    api: ApiStand, path: str, parts: list, status: int, code: str
) -> None:
    answer = await api.client.post(path, content=form_body(parts), headers=FORM)
    await assert_refused(api, answer, status, code)


@pytest.mark.parametrize("first", ["settings", "file"])
@pytest.mark.parametrize(
    ("settings", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b"\xff\xfe\xfd", 400, "malformed_json"),
        (b"[" * 100_000, 400, "malformed_json"),
        (b"[]", 422, "invalid_settings"),
        (b'{"colour": "red"}', 422, "invalid_settings"),
        (b'{"thresholds": {"bison": 0.01}}', 422, "invalid_settings"),
        (b'{"detect_fps": NaN}', 422, "invalid_settings"),
        (b'{"recorded_at_utc": "2026-06-01T09:30:00"}', 422, "invalid_settings"),
        (b'{"lines": [{"name": "a", "start": [1, 1], "end": [1, 1]}]}', 422, "invalid_settings"),
        (b'{"detector": "nobody-configured-this"}', 422, "unknown_detector"),
        (b'{"detector": "/etc/passwd"}', 422, "unknown_detector"),
        (b'{"detector": "PekingU/rtdetr_r18vd"}', 422, "unknown_detector"),
        (
            b'{"calibration": {"image_points": [[0,0],[1,1],[2,2]], "ground_points": [[0,0],[1,1],[2,2]]}}',
            422,
            "invalid_settings",
        ),
    ],
)
async def test_settings_that_make_no_sense(
    api: ApiStand, first: str, settings: bytes, status: int, code: str
) -> None:
    parts = [("file", "a.mp4", MP4), ("settings", None, settings)]
    body = form_body(parts if first == "file" else parts[::-1])
    await assert_refused(
        api, await api.client.post("/api/v1/jobs", content=body, headers=FORM), status, code
    )


async def test_every_fault_of_the_settings_is_named(api: ApiStand) -> None:
    answer = await api.submit(settings='{"colour": "red", "detect_fps": 0}')
    problem = await assert_refused(api, answer, 422, "invalid_settings")
    assert [fault["field"] for fault in problem["details"]["errors"]] == ["detect_fps", "colour"]


async def test_a_degenerate_calibration(api: ApiStand) -> None:
    pytest.importorskip("core.geometry.calibration")
    points = [[0, 0], [10, 10], [20, 20], [30, 30]]
    answer = await api.client.post(
        "/api/v1/jobs",
        files={"file": ("a.mp4", MP4)},
        data={
            "settings": f'{{"calibration": {{"image_points": {points}, "ground_points": {points}}}}}'
        },
    )
    assert answer.status_code == 422
    assert await api.films() == []


@pytest.mark.parametrize("name", ["default", "pasture", "mine"])
async def test_a_configured_detector_is_accepted(name: str) -> None:
    async with running_api(detectors={"mine": "/models/mine.onnx"}) as api:
        answer = await api.submit(settings=f'{{"detector": "{name}"}}')
        assert (answer.status_code, answer.json()["settings"]["detector"]) == (202, name)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/passwd.mp4", "passwd.mp4"),
        ("C:\\Users\\me\\herd.mp4", "herd.mp4"),
        (
            "\u0411\u0438\u0437\u043e\u043d \U0001f9ac.mp4",
            "\u0411\u0438\u0437\u043e\u043d \U0001f9ac.mp4",
        ),
        ("a\u202egpj.mp4", "agpj.mp4"),
        ("tab\there.mp4", "tabhere.mp4"),
        ("..", "video-1"),
        ("", "video-1"),
        ("x" * 500 + ".mp4", "x" * 200),
        ("wrong.txt", "wrong.txt"),
    ],
)
async def test_a_file_name_is_shown_and_never_used_as_a_path(
    api: ApiStand, sent: str, shown: str
) -> None:
    answer = await api.client.post(
        "/api/v1/jobs", content=form_body([("file", sent, MP4)]), headers=FORM
    )
    assert answer.status_code == 202
    assert answer.json()["files"][0]["name"] == shown
    assert await api.films() == [f"jobs/{answer.json()['id']}/source/000"]


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("multipart/form-data", form_body([("file", "a.mp4", MP4)]), 400, "missing_boundary"),
        (f"multipart/form-data; boundary={'b' * 300}", b"", 400, "missing_boundary"),
        (
            "multipart/form-data; boundary=other",
            form_body([("file", "a.mp4", MP4)]),
            400,
            "malformed_multipart",
        ),
        ("multipart/form-data; boundary=muster", b"", 400, "body_cut_off"),
        (
            "multipart/form-data; boundary=muster",
            form_body([("file", "a.mp4", MP4)])[:-2000],
            400,
            "body_cut_off",
        ),
        (
            "multipart/form-data; boundary=muster",
            form_body([("file", "a.mp4", MP4)])[:60],
            400,
            "body_cut_off",
        ),
        (
            "multipart/form-data; boundary=muster",
            form_body([("file", "a.mp4", MP4)]) + b"x" * 200_000,
            400,
            "malformed_multipart",
        ),
        ("text/plain", b"hello", 415, "unsupported_content_type"),
        ("video/mp4", MP4, 415, "unsupported_content_type"),
        ("application/json", b"{", 400, "malformed_json"),
        ("application/json", b"[]", 422, "invalid_request"),
        ("application/json", b'{"upload_ids": []}', 422, "missing_file"),
        ("application/json", b'{"upload_ids": ["../x"]}', 404, "upload_not_found"),
        ("application/json", b'{"upload_ids": [], "path": "x"}', 422, "invalid_request"),
        ("application/json", b'{"upload_ids": ["%s"]}' % (b"a" * 5_000_000), 413, "too_large"),
    ],
)
async def test_a_body_that_is_not_what_it_says(
    api: ApiStand, content_type: str, body: bytes, status: int, code: str
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    answer = await api.client.post(
        "/api/v1/jobs", content=pieces(), headers={"Content-Type": content_type}
    )
    await assert_refused(api, answer, status, code)


@pytest.mark.parametrize("piece_bytes", [1, 7, 100, 4096])
async def test_where_the_network_cuts_a_body_makes_no_difference(
    api: ApiStand, piece_bytes: int
) -> None:
    content = MP4 + b"\r\n--muste\r\n--\r\n"
    body = b"--muster\r\n".join(
        form_body([("file", "a.mp4", content), ("settings", None, b'{"camera": "n"}')]).split(
            b"--muster\r\n"
        )
    )

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), piece_bytes):
            yield body[start : start + piece_bytes]

    answer = await api.client.post("/api/v1/jobs", content=pieces(), headers=FORM)
    assert answer.status_code == 202
    assert answer.json()["settings"]["camera"] == "n"
    assert await api.ports.sources.get(f"jobs/{answer.json()['id']}/source/000") == content


async def test_a_declared_size_over_the_limit_is_refused_before_a_byte_is_read() -> None:
    async with running_api(max_upload_bytes=1000) as api:

        async def body() -> AsyncIterator[bytes]:
            raise AssertionError("the body was read")
            yield b""

        answer = await api.client.post(
            "/api/v1/jobs", content=body(), headers={**FORM, "Content-Length": str(100 * 2**20)}
        )
        problem = await assert_refused(api, answer, 413, "too_large")
        assert problem["details"] == {"limit_bytes": 1000}


async def test_a_body_of_unknown_size_is_refused_where_it_passes_the_limit() -> None:
    async with running_api(max_upload_bytes=len(MP4) + 10) as api:
        answer = await api.submit(("a.mp4", MP4), ("b.mp4", MP4))
        await assert_refused(api, answer, 413, "too_large")
        assert (await api.submit(("a.mp4", MP4))).status_code == 202


async def test_too_many_files() -> None:
    async with running_api(max_files=2) as api:
        problem = await assert_refused(
            api, await api.submit(*[(f"{i}.mp4", MP4) for i in range(3)]), 422, "too_many_files"
        )
        assert problem["details"] == {"limit": 2}


async def test_settings_of_endless_length(api: ApiStand) -> None:
    answer = await api.client.post(
        "/api/v1/jobs", content=form_body([("settings", None, b" " * 5_000_000)]), headers=FORM
    )
    await assert_refused(api, answer, 413, "settings_too_large")


async def test_a_client_that_goes_away_leaves_nothing(api: ApiStand) -> None:
    async def receive() -> dict:
        return next(messages)

    async def send(message: MutableMapping[str, Any]) -> None:
        return None

    whole = form_body([("file", "a.mp4", MP4), ("file", "b.mp4", MP4 * 100)])
    messages: Iterator[dict[str, Any]] = iter(
        [
            {"type": "http.request", "body": whole[:50_000], "more_body": True},
            *[{"type": "http.disconnect"}] * 3,
        ]
    )
    headers = [(b"content-type", FORM["Content-Type"].encode()), (b"host", b"localhost")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/jobs",
        "raw_path": b"/api/v1/jobs",
        "query_string": b"",
        "headers": headers,
    }
    await api.app(
        {
            **scope,
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1),
            "scheme": "http",
            "root_path": "",
        },
        receive,
        send,
    )
    assert await api.films() == []
    assert (await api.client.get("/api/v1/jobs")).json()["items"] == []


@pytest.mark.parametrize("part", ["sources", "queue", "jobs"])
async def test_a_part_that_is_away_is_503_and_nothing_is_half_done(
    api: ApiStand, part: str
) -> None:
    api.set_away(part, True)
    answer = await api.submit()
    api.set_away(part, False)
    assert answer.headers["retry-after"] == "5"
    await api.app.state.services.submissions.retry_cleaning()
    await assert_refused(api, answer, 503, "unavailable")


@pytest.mark.parametrize("method", ["add", "send"])
async def test_a_part_that_goes_away_after_the_upload_is_503_and_nothing_is_half_done(
    api: ApiStand, method: str, monkeypatch
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise Unavailable("The service does not answer.")

    monkeypatch.setattr(api.ports.jobs if method == "add" else api.ports.queue, method, fails)
    answer = await api.submit()
    assert answer.headers["retry-after"] == "5"
    await assert_refused(api, answer, 503, "unavailable")


async def test_what_cannot_be_deleted_at_once_is_deleted_later(api: ApiStand, monkeypatch) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise Unavailable("The service does not answer.")

    with monkeypatch.context() as broken:
        broken.setattr(api.ports.queue, "send", fails)
        broken.setattr(api.ports.jobs, "delete", fails)
        assert (await api.submit()).status_code == 503
    # The record may be there and its message sent, so its blobs must be there too.
    assert len(await api.films()) == 1
    assert await api.app.state.services.submissions.retry_cleaning() == 0
    assert await api.films() == []


async def test_concurrent_requests_with_one_key_make_one_job(api: ApiStand) -> None:
    answers = await asyncio.gather(
        *(api.submit(headers={"Idempotency-Key": "k"}) for _ in range(5))
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(await api.films()) == 1
    assert len(api.messages()) == 1


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "route_not_found"),
        ("GET", "/api/v1/jobs/", 404, "route_not_found"),
        ("PUT", "/api/v1/jobs", 405, "method_not_allowed"),
        ("GET", "/submit-job", 405, "method_not_allowed"),
    ],
)
async def test_what_no_route_answers_is_a_problem_too(
    api: ApiStand, method: str, path: str, status: int, code: str
) -> None:
    await assert_refused(api, await api.client.request(method, path), status, code)


async def test_an_unexpected_error_tells_nothing_of_the_inside(api: ApiStand, monkeypatch) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise ValueError("secret")

    monkeypatch.setattr(api.ports.jobs, "list_page", fails)
    transport = httpx.ASGITransport(app=api.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.get("/api/v1/jobs")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
