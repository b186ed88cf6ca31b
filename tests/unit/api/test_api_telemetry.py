"""A drone's telemetry beside its video: what a job tells of it, whose it is, every refusal with its
code.
"""

from __future__ import annotations

import errno
import tempfile
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from core.domain.blobs import upload_blob
from core.domain.job import SourceFile, TelemetryFile
from core.errors import InvalidInput, StorageFull
from core.services.submission import telemetry
from core.services.submission.telemetry import paired
from tests.support.api_stand import MP4, ApiStand, form_body, running_api
from tests.unit.core.test_telemetry import srt_of

FORM = {"Content-Type": "multipart/form-data; boundary=muster"}
PLACED = "[latitude: 48.1] [longitude: 11.5] [rel_alt: 50.0 abs_alt: 549.6] [gb_yaw: 10.0 gb_pitch: -90.0 gb_roll: 0.0]"
SRT = srt_of(PLACED, PLACED.replace("48.1", "48.2"), "rubbish")
CAMERA_ONLY = srt_of("[iso : 150] [shutter : 1/5000.0] [fnum : 170]")


@pytest.fixture
async def api():
    async with running_api(max_upload_bytes=1_000_000) as stand:
        yield stand


async def send(
    api: ApiStand, *parts: tuple[str, str | None, bytes], path: str = "/api/v1/jobs", **headers: str
) -> httpx.Response:
    return await api.client.post(path, content=form_body(parts), headers={**FORM, **headers})


async def test_the_job_tells_what_was_found_and_keeps_the_file(api: ApiStand) -> None:
    answer = await send(api, ("file", "DJI_1.MP4", MP4), ("telemetry", "DJI_1.SRT", SRT))
    assert answer.status_code == 202
    job = answer.json()
    (file,) = job["files"]
    remarks = file["telemetry"].pop("warnings")
    assert file["telemetry"] == {
        "source": "uploaded",
        "name": "DJI_1.SRT",
        "dialect": "bracket-attitude",
        "samples": 2,
        "has_position": True,
        "has_attitude": True,
    }
    assert [remark["code"] for remark in remarks] == ["telemetry_cues_skipped"]
    assert (await api.client.get(f"/api/v1/jobs/{job['id']}")).json()["files"] == [
        {**file, "telemetry": {**file["telemetry"], "warnings": remarks}}
    ]
    kept = (await api.ports.jobs.get(job["id"])).files[0].telemetry
    assert kept is not None
    assert (
        await api.ports.sources.get(f"jobs/{job['id']}/telemetry/000.srt", if_match=kept.etag)
        == SRT
    )
    assert (kept.blob, kept.size_bytes) == (f"jobs/{job['id']}/telemetry/000.srt", len(SRT))
    assert (await api.client.delete(f"/api/v1/jobs/{job['id']}")).status_code == 204
    assert await api.films() == []


async def test_the_order_of_the_parts_does_not_matter_and_the_old_address_takes_it_too(
    api: ApiStand,
) -> None:
    answer = await send(
        api, ("telemetry", "other.srt", CAMERA_ONLY), ("file", "a.mp4", MP4), path="/submit-job"
    )
    found = (await api.ports.jobs.get(answer.json()["job_id"])).files[0].telemetry
    assert found is not None
    assert (found.dialect, found.samples, found.has_position) == ("camera-only", 1, False)
    assert "telemetry_no_position" in [remark.code for remark in found.warnings]


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 422, "telemetry_empty"),
        (MP4, 422, "telemetry_not_srt"),
        (b"hello, these are my notes", 422, "telemetry_not_srt"),
        (srt_of("Look at all those cows!"), 422, "telemetry_not_dji"),
        (b"x" * 70_000, 413, "telemetry_too_large"),
    ],
)
@pytest.mark.parametrize("first", ["file", "telemetry"])
async def test_telemetry_that_tells_nothing_is_refused(
    api: ApiStand, monkeypatch: pytest.MonkeyPatch, data: bytes, status: int, code: str, first: str
) -> None:
    monkeypatch.setattr(telemetry, "MAX_TELEMETRY_BYTES", 65_536)
    parts = [("file", "a.mp4", MP4), ("telemetry", "a.srt", data)]
    answer = await send(api, *(parts if first == "file" else parts[::-1]))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await api.films() == []
    assert api.messages() == []


@pytest.mark.parametrize(
    ("parts", "status", "code"),
    [
        ([("telemetry", "a.srt", SRT)], 422, "missing_file"),
        (
            [("file", "a.mp4", MP4), ("telemetry", "a.srt", SRT), ("telemetry", "b.srt", SRT)],
            422,
            "telemetry_unmatched",
        ),
        (
            [("file", "a.mp4", MP4), ("file", "b.mp4", MP4), ("telemetry", "c.srt", SRT)],
            422,
            "telemetry_unmatched",
        ),
        ([("telemetry", f"{i}.srt", SRT) for i in range(51)], 422, "too_many_files"),
        ([("file", "a.mp4", MP4), ("telemetry", "a.srt", SRT * 5000)], 413, "too_large"),
    ],
    ids=["alone", "doubled", "whose", "many", "large"],
)
async def test_telemetry_that_belongs_nowhere_is_refused(
    api: ApiStand, parts: list, status: int, code: str
) -> None:
    answer = await send(api, *parts)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await api.films() == []


def pairs(videos: list[str], names: list[str]) -> list[str | None]:
    files = [SourceFile(name=name, blob="", size_bytes=1, etag="") for name in videos]
    found = paired(files, [TelemetryFile(source="uploaded", name=name) for name in names])
    assert [file.name for file in found] == videos
    return [file.telemetry.name if file.telemetry else None for file in found]


def test_each_goes_to_the_video_of_its_name_and_the_rest_in_order() -> None:
    assert pairs(["a.mp4", "b.mp4"], []) == [None, None]
    assert pairs(["DJI_1.MP4", "DJI_2.MP4"], ["dji_2.srt"]) == [None, "dji_2.srt"]
    assert pairs(["DJI_1.MP4", "DJI_2.MP4"], ["DJI_2.SRT", "DJI_1.SRT"]) == [
        "DJI_1.SRT",
        "DJI_2.SRT",
    ]
    assert pairs(["DJI_1.MP4"], ["DJI_1.MP4.SRT"]) == ["DJI_1.MP4.SRT"]
    assert pairs(["a.mp4", "b.mp4"], ["x.srt", "y.srt"]) == ["x.srt", "y.srt"]
    assert pairs(["a.mp4", "b.mp4", "c.mp4"], ["x.srt", "b.srt", "y.srt"]) == [
        "x.srt",
        "b.srt",
        "y.srt",
    ]
    assert pairs(["same.mp4", "same.mp4"], ["same.srt", "same.srt"]) == ["same.srt", "same.srt"]
    with pytest.raises(InvalidInput):
        pairs(["same.mp4", "same.mp4"], ["same.srt"])
    with pytest.raises(InvalidInput) as caught:
        pairs(["a.mp4", "b.mp4", "c.mp4"], ["a.srt", "x.srt"])
    assert caught.value.details == {"unmatched": ["x.srt"]}


async def test_the_same_key_with_other_telemetry_is_another_request(api: ApiStand) -> None:
    parts = [("file", "a.mp4", MP4), ("telemetry", "a.srt", SRT)]
    key = {"Idempotency-Key": "k"}
    first = await send(api, *parts, **key)
    again = await send(api, *parts[::-1], **key)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    for other in ([parts[0]], [parts[0], ("telemetry", "a.srt", CAMERA_ONLY)]):
        assert (await send(api, *other, **key)).json()["code"] == "idempotency_key_reused"


async def put(api: ApiStand, data: bytes) -> str:
    upload_id = (await api.client.post("/api/v1/uploads")).json()["upload_id"]
    await api.ports.sources.put(upload_blob(upload_id, owner="local"), data)
    return upload_id


async def test_direct_uploads(api: ApiStand) -> None:
    body: dict[str, Any] = {
        "upload_ids": [await put(api, MP4), await put(api, MP4 + b"2")],
        "names": ["1.mp4", "2.mp4"],
        "telemetry_upload_ids": [await put(api, SRT)],
        "telemetry_names": ["x/2.SRT"],
    }
    key = {"Idempotency-Key": "k"}
    answer = await api.client.post("/api/v1/jobs", json=body, headers=key)
    assert answer.status_code == 202
    assert [file["telemetry"] and file["telemetry"]["name"] for file in answer.json()["files"]] == [
        None,
        "2.SRT",
    ]
    prefix = f"jobs/{answer.json()['id']}"
    assert await api.films() == [
        f"{prefix}/source/000",
        f"{prefix}/source/001",
        f"{prefix}/telemetry/000.srt",
    ]
    again = await api.client.post("/api/v1/jobs", json=body, headers=key)
    assert (again.status_code, again.json()["id"]) == (202, answer.json()["id"])
    without = {name: body[name] for name in ("upload_ids", "names")}
    assert (await api.client.post("/api/v1/jobs", json=without, headers=key)).json()[
        "code"
    ] == "idempotency_key_reused"


async def test_direct_uploads_that_are_refused(
    api: ApiStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "MAX_TELEMETRY_BYTES", 65_536)

    async def code(srt: bytes | None, **changes: Any) -> tuple[int, str]:
        given = {"telemetry_upload_ids": [await put(api, srt)] if srt is not None else ["a" * 32]}
        answer = await api.client.post(
            "/api/v1/jobs", json={"upload_ids": [await put(api, MP4)], **given, **changes}
        )
        return answer.status_code, answer.json()["code"]

    assert await code(b"notes") == (422, "telemetry_not_srt")
    assert await code(b"x" * 70_000) == (413, "telemetry_too_large")
    assert await code(None) == (404, "upload_not_found")
    assert await code(None, telemetry_upload_ids=["../x"]) == (404, "upload_not_found")
    assert await code(SRT, telemetry_names=["a", "b"]) == (422, "names_differ")
    assert await code(None, upload_ids=["a" * 32]) == (422, "doubled_upload")
    assert [name for name in await api.films() if name.startswith("jobs/")] == []


async def test_a_file_that_arrives_slowly_takes_little_memory() -> None:
    held_bytes = []

    async def slowly() -> AsyncIterator[bytes]:
        for number in range(128):
            yield bytes([number]) * 65_536
        held_bytes.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        data = await telemetry.collected("a.srt", slowly())
    finally:
        tracemalloc.stop()
    assert data == b"".join(bytes([number]) * 65_536 for number in range(128))
    assert held_bytes[0] < 2_000_000


async def test_a_full_disk_is_no_fault_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    class FullFile(tempfile.SpooledTemporaryFile[bytes]):
        def write(self, s: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", FullFile)

    async def chunks() -> AsyncIterator[bytes]:
        yield b"1"

    with pytest.raises(StorageFull) as caught:
        await telemetry.collected("a.srt", chunks())
    assert caught.value.code == "storage_full"
