"""Direct uploads, and CattleCounter's form."""

from __future__ import annotations

import pytest

from core.domain.blobs import link_blob, upload_blob
from core.domain.identity import StorageMark
from core.ports import BlobInfo
from tests.fakes import IDENTITY
from tests.support.api_stand import MP4, ApiStand, running_api


@pytest.fixture
async def api():
    async with running_api(max_upload_bytes=1_000_000) as stand:
        yield stand


async def put_upload(api: ApiStand, data: bytes = MP4) -> str:
    """Do what a client does with a link, and return its id."""
    answer = await api.client.post(
        "/api/v1/uploads", json={"name": "a.mp4", "size_bytes": len(data)}
    )
    assert answer.status_code == 201
    await api.ports.sources.put(upload_blob(answer.json()["upload_id"], owner="local"), data)
    return answer.json()["upload_id"]


async def test_a_link_names_what_to_send_where_and_until_when(api: ApiStand) -> None:
    link = (await api.client.post("/api/v1/uploads", json={"name": "a.mp4"})).json()
    assert upload_blob(link["upload_id"], owner="local") in link["url"]
    assert (link["method"], link["headers"]) == ("PUT", {"x-ms-blob-type": "BlockBlob"})
    assert link["expires_at_utc"] == "2026-06-01T10:30:00Z"
    # The marker, without which no sweeper may ever delete what is put there, is written before the
    # link is given out.
    marker = StorageMark.from_bytes(
        await api.ports.sources.get(link_blob(upload_blob(link["upload_id"], owner="local")))
    )
    assert marker is not None and marker.identity == IDENTITY.id
    assert (await api.client.post("/api/v1/uploads")).status_code == 201


async def test_a_job_of_uploads_has_its_own_copy_and_the_staged_ones_go(api: ApiStand) -> None:
    ids = [await put_upload(api, MP4 + b"1"), await put_upload(api, MP4)]
    answer = await api.client.post(
        "/api/v1/jobs",
        json={"upload_ids": ids, "names": ["x/1.mp4", "2.mp4"], "settings": {"only": "cattle"}},
    )

    assert answer.status_code == 202
    job = answer.json()
    assert [(f["name"], f["size_bytes"]) for f in job["files"]] == [
        ("1.mp4", len(MP4) + 1),
        ("2.mp4", len(MP4)),
    ]
    assert job["settings"]["only"] == "cattle"
    names = await api.blob_names()
    assert [name for name in names if not name.endswith(".link")] == [
        f"jobs/{job['id']}/{name}" for name in ("source/000", "source/001", "submission.json")
    ]
    assert len(names) == 5, (
        "what is put there once more, by a link that still works, has a marker by which it is cleared"
    )
    stored = await api.ports.jobs.get(job["id"])
    assert [f.etag for f in stored.files] == [
        (await api.ports.sources.info(f.blob)).etag for f in stored.files
    ]
    assert [m.step for m in api.messages()] == ["plan"]


async def test_the_same_request_again_gives_the_same_job_though_its_uploads_are_gone(
    api: ApiStand,
) -> None:
    body = {"upload_ids": [await put_upload(api)]}
    first = await api.client.post("/api/v1/jobs", json=body, headers={"Idempotency-Key": "k"})
    again = await api.client.post("/api/v1/jobs", json=body, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()["id"], again.headers["idempotency-replayed"]) == (
        202,
        first.json()["id"],
        "true",
    )
    other = await api.client.post(
        "/api/v1/jobs",
        json={**body, "settings": {"only": "bison"}},
        headers={"Idempotency-Key": "k"},
    )
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 422, "empty_file"),
        (b"text renamed .mp4", 415, "unsupported_media"),
        (MP4 * 200, 413, "too_large"),
    ],
)
async def test_an_upload_that_is_no_recording_is_refused_and_stays_for_the_sweeper(
    api: ApiStand, data: bytes, status: int, code: str
) -> None:
    upload_id = "a" * 32
    await api.ports.sources.put(upload_blob(upload_id, owner="local"), data)
    answer = await api.client.post("/api/v1/jobs", json={"upload_ids": [upload_id]})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert [name for name in await api.blob_names() if not name.endswith(".link")] == [
        upload_blob(upload_id, owner="local")
    ]
    assert api.messages() == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"upload_ids": ["a" * 32]}, 404, "upload_not_found"),
        ({"upload_ids": ["A" * 32]}, 404, "upload_not_found"),
        ({"upload_ids": ["a" * 32, "a" * 32]}, 422, "doubled_upload"),
        ({"upload_ids": ["a" * 32], "names": ["1", "2"]}, 422, "names_differ"),
        ({"upload_ids": "a" * 32}, 422, "invalid_request"),
        ({"upload_ids": ["a" * 32], "settings": {"detector": "/x"}}, 422, "unknown_detector"),
    ],
)
async def test_a_request_that_names_no_uploads_is_refused(
    api: ApiStand, body: dict, status: int, code: str
) -> None:
    answer = await api.client.post("/api/v1/jobs", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await api.blob_names() == []


async def test_an_upload_that_is_written_again_meanwhile_is_409(api: ApiStand, monkeypatch) -> None:
    upload_id = await put_upload(api)
    sources = api.ports.sources
    look = sources.info

    async def look_then_somebody_writes(name: str) -> BlobInfo:
        info = await look(name)
        await sources.put(name, MP4 + b"other")
        return info

    monkeypatch.setattr(sources, "info", look_then_somebody_writes)
    answer = await api.client.post("/api/v1/jobs", json={"upload_ids": [upload_id]})
    assert (answer.status_code, answer.json()["code"]) == (409, "upload_changed")
    assert [name for name in await api.blob_names() if not name.endswith(".link")] == [
        upload_blob(upload_id, owner="local")
    ]


async def test_a_link_for_too_large_a_file_is_refused(api: ApiStand) -> None:
    answer = await api.client.post(
        "/api/v1/uploads", json={"name": "a.mp4", "size_bytes": 1_000_001}
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_cattle_counters_answer_is_exact(api: ApiStand) -> None:
    answer = await api.client.post("/submit-job", files={"file": ("cows.mp4", MP4)})
    assert answer.status_code == 200
    job_id = answer.json()["job_id"]
    assert answer.json() == {
        "job_id": job_id,
        "blob_name": f"jobs/{job_id}/source/000",
        "status": "queued",
        "message": "Video 'cows.mp4' was accepted for processing.",
    }
    assert (await api.client.get(f"/api/v1/jobs/{job_id}")).json()["state"] == "queued"
