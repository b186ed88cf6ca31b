"""Results over HTTP: published files, ranges, conditions."""

from __future__ import annotations

import pytest

from core.domain.blobs import ARTIFACTS
from tests.support.api_stand import ApiStand, running_api

JOB = "a" * 32
VIDEO = bytes(range(256)) * 40
URL = f"/api/v1/jobs/{JOB}/artifacts/annotated.mp4"


@pytest.fixture
async def api():
    async with running_api() as stand:
        stand.ports.results.piece_bytes = 1000
        await stand.publish(
            JOB, {"results.json": b'{"counts": {}}', "annotated.mp4": VIDEO, "tracks.csv": b""}
        )
        yield stand


async def test_results_are_the_published_file(api: ApiStand) -> None:
    answer = await api.client.get(f"/api/v1/jobs/{JOB}/results")
    assert (answer.status_code, answer.json(), answer.headers["content-type"]) == (
        200,
        {"counts": {}},
        "application/json",
    )
    again = await api.client.get(
        f"/api/v1/jobs/{JOB}/results", headers={"If-None-Match": answer.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


async def test_published_files_are_listed(api: ApiStand) -> None:
    listed = (await api.client.get(f"/api/v1/jobs/{JOB}/artifacts")).json()
    assert listed["revision"] == "r0001"
    assert [(i["name"], i["size_bytes"], i["media_type"]) for i in listed["items"]] == [
        ("results.json", 14, "application/json"),
        ("tracks.csv", 0, "text/csv; charset=utf-8"),
        ("annotated.mp4", len(VIDEO), "video/mp4"),
    ]
    for item in listed["items"]:
        assert len((await api.client.get(item["url"])).content) == item["size_bytes"]


async def test_a_whole_file_comes_with_what_a_player_needs(api: ApiStand) -> None:
    answer = await api.client.get(URL)
    assert (answer.status_code, answer.content) == (200, VIDEO)
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-length"] == str(len(VIDEO))
    assert answer.headers["x-content-type-options"] == "nosniff"
    head = await api.client.head(URL)
    assert (head.status_code, head.content) == (200, b"")
    assert {k: v for k, v in head.headers.items()} == {k: v for k, v in answer.headers.items()}


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, len(VIDEO)),
        ("bytes=500-2499", 500, 2500),
        ("bytes=10000-", 10_000, len(VIDEO)),
        ("bytes=10000-99999", 10_000, len(VIDEO)),
        ("bytes=-500", len(VIDEO) - 500, len(VIDEO)),
        ("bytes=-99999", 0, len(VIDEO)),
    ],
)
async def test_a_range_is_those_bytes(api: ApiStand, asked: str, start: int, end: int) -> None:
    answer = await api.client.get(URL, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, VIDEO[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(VIDEO)}"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("asked", ["bytes=10240-", "bytes=99999-100000", "bytes=-0"])
async def test_a_range_outside_is_416(api: ApiStand, asked: str) -> None:
    answer = await api.client.get(URL, headers={"Range": asked})
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{len(VIDEO)}"


@pytest.mark.parametrize(
    "asked", ["bytes=5-2", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6"]
)
async def test_a_range_that_cannot_be_read_is_ignored(api: ApiStand, asked: str) -> None:
    answer = await api.client.get(URL, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, VIDEO)


async def test_a_range_is_sent_only_of_the_version_that_was_meant(api: ApiStand) -> None:
    head = (await api.client.head(URL)).headers
    for condition, status in [
        (head["etag"], 206),
        ('"other"', 200),
        (head["last-modified"], 206),
        ("nonsense", 200),
    ]:
        answer = await api.client.get(URL, headers={"Range": "bytes=0-9", "If-Range": condition})
        assert answer.status_code == status


@pytest.mark.parametrize(
    "name",
    [
        "%2e%2e%2fx",
        "../../../x",
        "..%2f..%2fsource%2f000",
        "results.json%00",
        "/etc/passwd",
        "secret.txt",
        "run.json/",
    ],
)
async def test_only_known_names_are_files(api: ApiStand, name: str) -> None:
    answer = await api.client.get(f"/api/v1/jobs/{JOB}/artifacts/{name}")
    assert answer.status_code == 404
    assert answer.json()["code"] in ("unknown_artifact", "route_not_found")


async def test_a_file_that_this_job_did_not_make_is_404(api: ApiStand) -> None:
    answer = await api.client.get(f"/api/v1/jobs/{JOB}/artifacts/preview.jpg")
    assert (answer.status_code, answer.json()["code"]) == (404, "artifact_not_made")


@pytest.mark.parametrize(
    "path", ["results", "artifacts", *(f"artifacts/{name}" for name in ARTIFACTS)]
)
async def test_results_that_are_not_there_yet_are_409_and_those_that_never_come_404(
    api: ApiStand, path: str
) -> None:
    await api.add_job("b" * 32, state="detecting")
    await api.add_job("c" * 32, state="failed")
    early = await api.client.get(f"/api/v1/jobs/{'b' * 32}/{path}")
    never = await api.client.get(f"/api/v1/jobs/{'c' * 32}/{path}")
    assert (early.status_code, early.json()["code"], early.headers["retry-after"]) == (
        409,
        "not_ready",
        "2",
    )
    assert (never.status_code, never.json()["code"]) == (404, "no_results")


async def test_a_recount_in_progress_shows_the_published_revision(api: ApiStand) -> None:
    await api.client.post(f"/api/v1/jobs/{JOB}/recount", json={"lines": []})
    assert (await api.client.get(f"/api/v1/jobs/{JOB}/results")).status_code == 200


async def test_storage_that_is_away_is_503_before_anything_is_sent(api: ApiStand) -> None:
    api.set_away("results", True)
    answer = await api.client.get(URL)
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (
        503,
        "unavailable",
        "5",
    )


async def test_counts_that_an_older_worker_published_have_codes(api: ApiStand) -> None:
    counts = {
        "cattle": {
            **{"unique": 4, "low": 3, "high": 6, "peak": 3, "mean": 2.5},
            **{"interval_basis": "detected", "detections": 80, "avg_confidence": 0.7},
            "reasons": ["re-entry: 1 appeared after others had left", "4 of 5 seen"],
        }
    }
    await api.publish("of_1_1", {"results.json": b"{}"}, counts=counts)
    shown = (await api.client.get("/api/v1/jobs/of_1_1")).json()["counts"]
    assert shown["cattle"] == counts["cattle"] | {
        "reasons": [
            {"code": "re_entry", "text": "1 appeared after others had left"},
            {"code": "expected", "text": "4 of 5 seen"},
        ]
    }


async def test_counts_and_results_are_described(api: ApiStand) -> None:
    schema = (await api.client.get("/openapi.json")).json()
    counts = schema["components"]["schemas"]["JobView"]["properties"]["counts"]["anyOf"][0]
    assert counts["additionalProperties"] == {"$ref": "#/components/schemas/ClassCounts"}
    answer = schema["paths"]["/api/v1/jobs/{job_id}/results"]["get"]["responses"]["200"]
    content = answer["content"]["application/json"]
    assert content["schema"] == {"$ref": "#/components/schemas/Results"}
