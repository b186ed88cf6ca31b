"""Numbers, dates and names beyond all measure: each is refused with a reason, or means what it
says, and none is an error of the server.
"""

from __future__ import annotations

import io
import json
import time
import tracemalloc
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest

from core.domain.analysis import AnalysisSettings, parse_settings
from core.errors import InvalidCalibration, InvalidSettings
from core.geometry.calibration import read_npz
from tests.support.api_stand import ApiStand, running_api

JOB = "a" * 32
VIDEO = bytes(range(256)) * 40
FILE = f"/api/v1/jobs/{JOB}/artifacts/annotated.mp4"
DIGITS = "9" * 5000
"""Python refuses to read a number of over 4300 digits."""
POINTS = [[0, 0], [100, 0], [100, 100], [0, 90]]


@pytest.fixture
async def api() -> AsyncIterator[ApiStand]:
    async with running_api() as stand:
        await stand.publish(JOB, {"annotated.mp4": VIDEO})
        yield stand


@pytest.mark.parametrize(
    "origin",
    [
        "http://[",
        "http://[::1",
        "http://]",
        "http://a]b[",
        "http://[v1.]",
        "http://127.0.0.1:99999999",
        "http://\u00e4",
    ],
)
async def test_an_origin_that_is_no_address_is_foreign(api: ApiStand, origin: str) -> None:
    answer = await api.client.get("/api/v1/jobs", headers={b"Origin": origin.encode()})
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")


@pytest.mark.parametrize(
    ("asked", "status", "shown"),
    [
        (f"bytes=0-{DIGITS}", 206, f"bytes 0-{len(VIDEO) - 1}/{len(VIDEO)}"),
        (f"bytes=-{DIGITS}", 206, f"bytes 0-{len(VIDEO) - 1}/{len(VIDEO)}"),
        (f"bytes={DIGITS}-", 416, f"bytes */{len(VIDEO)}"),
        (f"bytes={DIGITS}-{DIGITS}", 416, f"bytes */{len(VIDEO)}"),
        ("bytes=99999999999999999999-", 416, f"bytes */{len(VIDEO)}"),
        (f"bytes={DIGITS}-1", 200, None),
    ],
)
async def test_a_range_of_absurd_numbers(
    api: ApiStand, asked: str, status: int, shown: str | None
) -> None:
    answer = await api.client.get(FILE, headers={"Range": asked})
    assert (answer.status_code, answer.headers.get("content-range")) == (status, shown)


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        f"Mon, 01 Jan {DIGITS} 00:00:00 GMT",
        "Mon, 01 Jan 2026 00:00:00 +99999999999999999999",
        "Mon, 01 Jan 2026 99999999999:00:00 GMT",
        "Mon, 01 Jan 0001 00:00:00 +1400",
        "Mon, 99 Foo 2026",
        ",",
    ],
)
async def test_a_condition_on_an_absurd_date_is_not_met(api: ApiStand, date: str) -> None:
    answer = await api.client.get(FILE, headers={"Range": "bytes=0-1", "If-Range": date})
    assert (answer.status_code, len(answer.content)) == (200, len(VIDEO))


OUT_OF_THE_CALENDAR = [
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59-00:01",
]
WHERE_DATES = [
    ("/api/v1/stats", "from"),
    ("/api/v1/stats", "until"),
    ("/api/v1/stats/latest", "from"),
    ("/api/v1/stats/timeseries", "until"),
    ("/api/v1/jobs", "created_from"),
    ("/api/v1/jobs", "created_until"),
]


@pytest.mark.parametrize("date", OUT_OF_THE_CALENDAR)
@pytest.mark.parametrize(("path", "name"), WHERE_DATES)
async def test_a_date_out_of_the_calendar_is_refused(
    api: ApiStand, path: str, name: str, date: str
) -> None:
    answer = await api.client.get(path, params={name: date})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("bucket", ["hour", "day", "week", "month"])
@pytest.mark.parametrize(("path", "name"), WHERE_DATES)
async def test_the_first_and_the_last_date_may_be_asked_for(
    api: ApiStand, path: str, name: str, bucket: str
) -> None:
    for date in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"):
        answer = await api.client.get(
            path, params={name: date, **({"bucket": bucket} if path.endswith("series") else {})}
        )
        assert answer.status_code == 404 if path.endswith("latest") else answer.status_code == 200


@pytest.mark.parametrize(
    "settings",
    [
        *({"recorded_at_utc": date} for date in OUT_OF_THE_CALENDAR),
        *({"expected": number} for number in (2**63, -(2**63) - 1, 10**400, 1_000_001, -1)),
        {"expected": {"bison": 2**64}},
        {"counted": [{"frame": 2**63, "counts": {"bison": 1}}]},
        {"counted": [{"frame": 10**400, "counts": {"bison": 1}}]},
        {"counted": [{"frame": 1, "counts": {"bison": 2**64}}]},
        {"lines": [{"name": "gate", "start": [0, 10**400], "end": [1, 1]}]},
        {"calibration": {"image_points": POINTS, "ground_points": [[10**400, 0], *POINTS[1:]]}},
        {"detect_fps": 10**400},
    ],
)
async def test_settings_beyond_all_measure_are_refused(
    api: ApiStand, settings: dict[str, Any]
) -> None:
    answer = await api.submit(settings=json.dumps(settings))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_settings")
    again = await api.client.post(f"/api/v1/jobs/{JOB}/recount", json=settings)
    assert again.status_code == 422


async def test_numbers_of_too_many_digits_are_no_json(api: ApiStand) -> None:
    answer = await api.submit(settings=f'{{"expected": {DIGITS}}}')
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")
    for path in (f"/api/v1/jobs/{JOB}/recount", "/api/v1/uploads", "/api/v1/jobs"):
        answer = await api.client.post(
            path,
            content=f'{{"size_bytes": {DIGITS}}}',
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code in (400, 422)


async def test_an_upload_of_absurd_size_is_too_large(api: ApiStand) -> None:
    answer = await api.client.post("/api/v1/uploads", json={"size_bytes": 10**400})
    assert answer.status_code in (413, 422)


@pytest.mark.parametrize("length", [DIGITS, "99999999999999999999", "\u00b2"])
async def test_a_declared_length_of_absurd_digits(api: ApiStand, length: str) -> None:
    answer = await api.client.post(
        "/api/v1/uploads", content=b"{}", headers={b"Content-Length": length.encode("latin-1")}
    )
    assert answer.status_code in (201, 413, 422)


def test_every_number_that_is_stored_has_64_bits() -> None:
    largest = parse_settings(
        {"expected": 10**6, "counted": [{"frame": 2**53 - 1, "counts": {"bison": 10**6}}]}
    )
    assert largest.counted[0].frame < 2**63
    for settings in (
        {"counted": [{"frame": 2**53, "counts": {"bison": 1}}]},
        {"expected": 10**6 + 1},
        {"expected": {"bison": -1}},
    ):
        with pytest.raises(InvalidSettings) as refused:
            parse_settings(settings)
        assert any(
            fault["problem"].startswith("Input should be from 0 to ")
            for fault in refused.value.details["errors"]
        )


def npz_of(header: bytes, version: tuple[int, int] = (1, 0)) -> bytes:
    """Return an archive whose arrays have this header and 64 bytes."""
    out = io.BytesIO()
    size = len(header).to_bytes(2 if version == (1, 0) else 4, "little")
    with zipfile.ZipFile(out, "w") as archive:
        for key in ("image_points", "map_points"):
            archive.writestr(
                f"{key}.npy", b"\x93NUMPY" + bytes(version) + size + header + bytes(64)
            )
    return out.getvalue()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ("(10000000000, 2)", "<f8"),
        ("(1000000, 2)", "<f8"),
        ("(9223372036854775807, 9223372036854775807)", "<f8"),
        ("(-4, 2)", "<f8"),
        ("(4, 2)", "|S2000000000"),
        ("(4, 2)", "|O"),
        ("(4, 2, 100000000000)", "<f8"),
        ("()", "<f8"),
    ],
)
def test_what_an_array_claims_is_checked_before_room_is_made(
    shape: str, kind: str, version: tuple[int, int]
) -> None:
    data = npz_of(
        f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode(), version
    )
    tracemalloc.start()
    try:
        with pytest.raises(InvalidCalibration) as caught:
            read_npz(data)
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()
    assert caught.value.code == "bad_calibration_file"


def test_an_archive_that_claims_what_it_holds_is_read() -> None:
    out = io.BytesIO()
    np.savez(out, image_points=np.array(POINTS, np.int16), map_points=np.array(POINTS, np.float32))
    assert read_npz(out.getvalue()) == {"image_points": POINTS, "ground_points": POINTS}


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/metrics"])
async def test_probes_may_ask_with_head(api: ApiStand, path: str) -> None:
    assert (
        (await api.client.head(path)).status_code == (await api.client.get(path)).status_code == 200
    )
    assert "head" not in (await api.client.get("/openapi.json")).json()["paths"][path]


async def test_an_unexpected_error_has_the_headers_of_every_answer(
    api: ApiStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise ValueError("secret")

    usual = (await api.client.get("/api/v1/jobs")).headers
    monkeypatch.setattr(api.ports.jobs, "list_page", fails)
    answer = await api.client.get("/api/v1/jobs")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    same = {
        name: value
        for name, value in usual.items()
        if name not in ("content-length", "content-type")
    }
    assert {name: answer.headers.get(name) for name in same} == same
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    figures = (await api.client.get("/metrics")).text
    assert 'route="/api/v1/jobs",status="500"' in figures


async def test_an_error_after_the_answer_began_ends_the_connection(
    api: ApiStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stream(*_: object, **__: object) -> AsyncIterator[bytes]:
        yield b"one"
        raise ValueError("secret")

    monkeypatch.setattr(api.ports.results, "stream", stream)
    with pytest.raises(ValueError, match="secret"):
        await httpx.AsyncClient(
            transport=httpx.ASGITransport(app=api.app), base_url="http://127.0.0.1"
        ).get(FILE)


@pytest.mark.parametrize("expected", [1_000_001, 10**30, -5, {"bison": 2**70}])
async def test_a_job_of_a_release_without_the_limit_is_shown_and_counted_again(
    api: ApiStand, expected: Any
) -> None:
    settings = AnalysisSettings.model_validate(
        {"expected": expected, "counted": [{"frame": 2**60, "counts": {"bison": 2**50}}]}
    )
    old = "b" * 32
    await api.publish(
        old, {"tracks.csv": b"frame,time_s\n", "results.json": b"{}"}, settings=settings
    )
    assert (await api.client.get(f"/api/v1/jobs/{old}")).json()["settings"]["expected"] == expected
    listed = (await api.client.get("/api/v1/jobs")).json()["items"]
    assert {item["id"]: item["settings"]["expected"] for item in listed}[old] == expected
    sent, code = await api.follow(old)
    assert (sent[0]["payload"]["settings"]["expected"], code) == (expected, 1000)
    refused = await api.client.post(f"/api/v1/jobs/{old}/recount", json={"camera": "gate"})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_settings")
    again = await api.client.post(
        f"/api/v1/jobs/{old}/recount", json={"expected": 43, "counted": []}
    )
    assert (again.status_code, again.json()["settings"]["expected"]) == (202, 43), again.text


MANY = [0] * 300_000
KEYS = {f"{number:x}": 0 for number in range(100_000)}


@pytest.mark.parametrize(
    ("path", "sent", "status", "code"),
    [
        ("/api/v1/jobs", {"upload_ids": MANY}, 422, "too_many_values"),
        ("/api/v1/jobs", KEYS, 422, "too_many_values"),
        (
            "/api/v1/jobs",
            {"upload_ids": [JOB], "settings": {"zones": MANY}},
            422,
            "too_many_values",
        ),
        (
            "/api/v1/jobs",
            {
                "upload_ids": [JOB],
                "settings": {"zones": [{"name": "a", "polygon": [[]] * 300_000}]},
            },
            422,
            "too_many_values",
        ),
        (
            "/api/v1/jobs",
            {"upload_ids": [JOB], "settings": {"zones": [[0] * 9_000] * 40}},
            422,
            "too_many_values",
        ),
        ("/api/v1/calibrations", {"name": "a", "image_points": MANY}, 422, "too_many_values"),
        (
            "/api/v1/calibrations",
            {"name": "a", "image_points": [0] * 10_000, "ground_points": [[]] * 10_000},
            422,
            "invalid_calibration",
        ),
        (
            "/api/v1/calibrations",
            {"name": "a", "image_points": [[]] * 1_300_000},
            422,
            "too_many_values",
        ),
        ("/api/v1/calibrations", KEYS, 422, "too_many_values"),
        ("/api/v1/uploads", KEYS, 413, "too_large"),
        ("/api/v1/uploads", {f"{number:x}": 0 for number in range(5_000)}, 422, "invalid_request"),
    ],
)
async def test_a_request_of_countless_faults_gets_a_short_answer_soon(
    api: ApiStand, path: str, sent: Any, status: int, code: str
) -> None:
    began_s = time.process_time()
    answer = await api.client.post(path, json=sent)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert len(answer.content) < 30_000
    # Naming each of these faults takes ten times as long.
    assert time.process_time() - began_s < 1.0
