"""Calibrations by name over HTTP: the fit that comes back, every refusal with its code, and jobs
that ask for one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import Unavailable
from tests.support.api_stand import MP4, ApiStand, make_plan, running_api
from tests.support.calibration_requests import GROUND, PATH, TILT, body, npz, view

HORIZON_Y = 540 - 1200 * np.tan(TILT)


@pytest.fixture
async def api():
    async with running_api() as stand:
        yield stand


async def test_what_is_stored_comes_back_with_its_fit(api: ApiStand) -> None:
    answer = await api.client.post(PATH, json=body(camera="north gate"))
    assert (answer.status_code, answer.headers["location"]) == (201, f"{PATH}/north-camera")
    shown = answer.json()
    assert (shown["name"], shown["camera"], shown["unit"], shown["pairs"]) == (
        "north-camera",
        "north gate",
        "m",
        16,
    )
    assert shown["created_at_utc"] == shown["updated_at_utc"] == "2026-06-01T09:30:00Z"
    np.testing.assert_allclose(shown["image_points"], view(GROUND))
    fit = shown["fit"]
    assert (len(fit["residuals_m"]), fit["pairs_left_out"], fit["origin"]) == (16, [], None)
    assert fit["residual_max_m"] < 1e-6
    assert (await api.client.get(f"{PATH}/north-camera")).json() == shown
    matrix = np.array(fit["matrix"])
    there = matrix @ (*view(np.array([[1.0, 10]]))[0], 1)
    np.testing.assert_allclose(there[:2] / there[2], [1, 10], atol=1e-6)


async def test_the_horizon_is_told(api: ApiStand) -> None:
    horizon = (await api.client.post(PATH, json=body())).json()["fit"]["horizon"]
    (x1, y1), (x2, y2) = horizon["line"]
    np.testing.assert_allclose([y1, y2], HORIZON_Y, atol=1e-3)
    assert (x1, x2) == (
        pytest.approx(view(GROUND)[:, 0].min()),
        pytest.approx(view(GROUND)[:, 0].max()),
    )
    a, b, c = horizon["coefficients"]
    assert a * 960 + b * 1000 + c > horizon["least"] > a * 960 + b * (HORIZON_Y + 1) + c
    from_above = {
        "image_points": [[0, 0], [640, 0], [640, 480], [0, 480]],
        "ground_points": [[0, 48], [64, 48], [64, 0], [0, 0]],
    }
    fit = (await api.client.post(PATH, json={"name": "above", **from_above})).json()["fit"]
    assert fit["horizon"]["line"] is None


async def test_pairs_that_contradict_the_others_are_left_out_and_named(api: ApiStand) -> None:
    ground = GROUND.copy()
    ground[5] += 3
    fit = (await api.client.post(PATH, json=body(ground_points=ground.tolist()))).json()["fit"]
    assert fit["pairs_left_out"] == [5]
    assert fit["residuals_m"][5] == pytest.approx(np.hypot(3, 3), abs=0.01)
    assert fit["residual_max_m"] < 0.01


async def test_degrees_have_an_origin(api: ApiStand) -> None:
    degrees = GROUND / (111_320 * np.cos(np.radians(48)), 111_133) + (11.5, 48)
    fit = (
        await api.client.post(PATH, json=body(ground_points=degrees.tolist(), unit="wgs84"))
    ).json()["fit"]
    np.testing.assert_allclose(fit["origin"], degrees.mean(axis=0))


@pytest.mark.parametrize("kind", ["form json", "form npz", "raw json", "raw npz"])
async def test_files(api: ApiStand, kind: str) -> None:
    content = npz() if kind.endswith("npz") else json.dumps(body(None)).encode()
    if kind.startswith("form"):
        answer = await api.client.post(
            PATH, files={"file": ("any.bin", content)}, data={"name": "gate 2", "camera": "gate"}
        )
    else:
        answer = await api.client.post(
            PATH, params={"name": "gate 2", "camera": "gate"}, content=content
        )
    assert (answer.status_code, answer.headers["location"]) == (201, f"{PATH}/gate%202")
    assert (answer.json()["name"], answer.json()["camera"], answer.json()["pairs"]) == (
        "gate 2",
        "gate",
        16,
    )
    assert (await api.client.get(answer.headers["location"])).json() == answer.json()


async def test_a_form_goes_before_what_its_file_says(api: ApiStand) -> None:
    content = json.dumps(body("old", camera="old")).encode()
    answer = await api.client.post(PATH, files={"file": ("a.json", content)}, data={"name": "new"})
    assert (answer.json()["name"], answer.json()["camera"]) == ("new", "old")


SPOTON: dict[str, Any] = {
    "ground_plane": {"width": 2000, "pixels_per_meter": 100},
    "cameras": [
        {
            "id": "c01",
            "source_points": view(GROUND).tolist(),
            "destination_points": (GROUND * 100).tolist(),
            "frame_path": "/x.jpg",
        },
        {
            "id": "c02",
            "source_points": view(GROUND).tolist(),
            "destination_points": (GROUND * 200).tolist(),
        },
    ],
}


@pytest.mark.parametrize("form", [True, False])
async def test_a_camera_of_spoton(api: ApiStand, form: bool) -> None:
    async def send(content: Any, **labels: str) -> Any:
        data = json.dumps(content).encode()
        if form:
            # The labels may stand before or behind the file.
            return await api.client.post(
                PATH,
                files={
                    "file": ("cameras.json", data),
                    "camera": (None, labels.pop("camera", "c02")),
                },
                data=labels,
            )
        return await api.client.post(PATH, params={"camera": "c02", **labels}, content=data)

    answer = await send(SPOTON, name="yard")
    assert (answer.status_code, answer.json()["camera"], answer.json()["unit"]) == (201, "c02", "m")
    np.testing.assert_allclose(answer.json()["ground_points"], GROUND * 2)
    assert (
        await send({**SPOTON, "cameras": SPOTON["cameras"][:1]}, name="one", camera="yard")
    ).json()["camera"] == "yard"
    for content, code in (
        ({**SPOTON, "cameras": SPOTON["cameras"] * 2}, None),
        ({**SPOTON, "cameras": []}, "calibration_camera_unknown"),
        ({**SPOTON, "ground_plane": {"pixels_per_meter": 0}}, "bad_calibration_file"),
        ({"cameras": SPOTON["cameras"]}, "bad_calibration_file"),
        ({**SPOTON, "cameras": [{"id": "c02"}]}, "bad_calibration_file"),
        ({**SPOTON, "cameras": 5}, "bad_calibration_file"),
    ):
        answer = await send(content, name=f"again {code}")
        assert (answer.status_code, answer.json().get("code")) == (
            (201 if code is None else 422),
            code,
        )
    answer = await send(SPOTON, name="other", camera="c03")
    assert (answer.status_code, answer.json()["code"]) == (422, "calibration_camera_unknown")
    assert "c01, c02" in answer.json()["detail"]


async def test_the_shared_cameras(api: ApiStand, shared_dir: Path) -> None:
    folder = shared_dir / "data" / "homography"
    for path, camera in ((folder / "campus.json", "Cam 1"), (folder / "factory.json", "c09")):
        answer = await api.client.put(
            f"{PATH}/{path.stem}", params={"camera": camera}, content=path.read_bytes()
        )
        assert (answer.status_code, answer.json()["camera"]) == (201, camera)
        assert answer.json()["fit"]["residual_rms_m"] < 0.6
    for path in sorted(folder.glob("*.npz")):
        answer = await api.client.put(f"{PATH}/{path.stem}", content=path.read_bytes())
        assert (answer.status_code, answer.json()["code"]) == (422, "calibration_identity")


async def test_a_name_is_taken_once_and_put_replaces(api: ApiStand) -> None:
    first = (await api.client.put(f"{PATH}/gate", json=body(None, camera="old"))).json()
    assert first["name"] == "gate"
    taken = await api.client.post(PATH, json=body("gate"))
    assert (taken.status_code, taken.json()["code"]) == (409, "calibration_exists")
    api.clock.step(60)
    again = await api.client.put(
        f"{PATH}/gate", json=body("gate", ground_points=(GROUND * 2).tolist())
    )
    assert again.status_code == 200
    shown = (await api.client.get(f"{PATH}/gate")).json()
    assert (shown["camera"], shown["created_at_utc"], shown["updated_at_utc"]) == (
        None,
        "2026-06-01T09:30:00Z",
        "2026-06-01T09:31:00Z",
    )
    np.testing.assert_allclose(shown["ground_points"], GROUND * 2)
    raw = await api.client.put(f"{PATH}/new one", content=npz(), params={"camera": "c"})
    assert (raw.status_code, raw.json()["name"], raw.json()["camera"]) == (201, "new one", "c")
    other = await api.client.put(f"{PATH}/gate", json=body("another"))
    assert (other.status_code, other.json()["code"]) == (422, "name_differs")


async def test_listing_and_deleting(api: ApiStand) -> None:
    for number in range(3):
        api.clock.step(1)
        await api.client.post(PATH, json=body(f"c{number}", camera="gate" if number else None))
    page = (await api.client.get(PATH, params={"limit": 2})).json()
    assert [item["name"] for item in page["items"]] == ["c2", "c1"]
    assert set(page["items"][0]) == {
        "name",
        "camera",
        "unit",
        "pairs",
        "created_at_utc",
        "updated_at_utc",
    }
    rest = (await api.client.get(PATH, params={"limit": 2, "cursor": page["next_cursor"]})).json()
    assert ([item["name"] for item in rest["items"]], rest["next_cursor"]) == (["c0"], None)
    assert [
        item["name"]
        for item in (await api.client.get(PATH, params={"camera": "gate"})).json()["items"]
    ] == ["c2", "c1"]
    assert (await api.client.get(PATH, params={"cursor": "x"})).json()["code"] == "bad_cursor"
    assert (await api.client.delete(f"{PATH}/c1")).status_code == 204
    for answer in (await api.client.delete(f"{PATH}/c1"), await api.client.get(f"{PATH}/c1")):
        assert (answer.status_code, answer.json()["code"]) == (404, "calibration_not_found")


async def test_a_store_that_is_away(api: ApiStand) -> None:
    api.ports.calibrations.fail_with = Unavailable("The database does not answer.")
    for answer in (await api.client.get(PATH), await api.client.post(PATH, json=body())):
        assert (answer.status_code, answer.json()["code"], "retry-after" in answer.headers) == (
            503,
            "unavailable",
            True,
        )
    assert (await api.submit(settings='{"calibration": "north-camera"}')).status_code == 503
    assert await api.blob_names() == []


async def test_a_job_keeps_the_points_of_the_calibration_that_it_asked_for(api: ApiStand) -> None:
    await api.client.post(PATH, json=body())
    submitted = await api.submit(settings='{"calibration": "north-camera"}')
    assert submitted.status_code == 202
    await api.client.put(f"{PATH}/north-camera", json=body(ground_points=(GROUND * 2).tolist()))
    await api.client.delete(f"{PATH}/north-camera")
    kept = (await api.client.get(f"/api/v1/jobs/{submitted.json()['id']}")).json()["settings"][
        "calibration"
    ]
    assert (kept["name"], kept["unit"]) == ("north-camera", "m")
    np.testing.assert_allclose(kept["ground_points"], GROUND)


async def test_an_unknown_calibration_is_refused_wherever_settings_are_given(api: ApiStand) -> None:
    done = await api.publish(
        "a" * 32, {"results.json": b"{}"}, plan=make_plan(frames=10, segments=1), done_segments=(0,)
    )
    asked = {"calibration": "nobody-stored-this"}
    answers = [
        await api.submit(settings=json.dumps(asked)),
        await api.client.post(
            "/submit-job", files={"file": ("a.mp4", MP4)}, data={"settings": json.dumps(asked)}
        ),
        await api.client.post("/api/v1/jobs", json={"upload_ids": ["a" * 32], "settings": asked}),
        await api.client.post(f"/api/v1/jobs/{done.id}/recount", json=asked),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (422, "unknown_calibration")
    ] * 4
    assert [name for name in await api.blob_names() if "/source/" in name] == []
    assert api.messages() == []


async def test_a_recount_may_ask_for_one_and_keeps_it_in_the_next(api: ApiStand) -> None:
    await api.client.post(PATH, json=body())
    job = await api.publish(
        "a" * 32, {"results.json": b"{}"}, plan=make_plan(frames=10, segments=1), done_segments=(0,)
    )
    counted = await api.client.post(
        f"/api/v1/jobs/{job.id}/recount", json={"calibration": "north-camera", "lines": []}
    )
    assert (counted.status_code, counted.json()["settings"]["calibration"]["name"]) == (
        202,
        "north-camera",
    )
    await api.client.delete(f"{PATH}/north-camera")
    await api.ports.jobs.update(
        job.id, attempt=2, expected=("assembling",), at=api.clock(), changes={"state": "completed"}
    )
    again = await api.client.post(f"/api/v1/jobs/{job.id}/recount", json={"lines": None})
    assert again.json()["settings"]["calibration"] == counted.json()["settings"]["calibration"]


async def test_a_repeated_request_is_the_same_though_its_calibration_was_replaced(
    api: ApiStand,
) -> None:
    await api.client.post(PATH, json=body())
    key = {"Idempotency-Key": "k"}
    first = await api.submit(settings='{"calibration": "north-camera"}', headers=key)
    await api.client.put(f"{PATH}/north-camera", json=body(ground_points=(GROUND * 2).tolist()))
    again = await api.submit(settings='{"calibration": "north-camera"}', headers=key)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    other = await api.submit(settings="{}", headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_the_documentation_names_every_body_and_answer(api: ApiStand) -> None:
    paths = (await api.client.get("/openapi.json")).json()["paths"]
    assert set(paths[PATH]) == {"get", "post"}
    assert set(paths[f"{PATH}/{{name}}"]) == {"get", "put", "delete"}
    for operation in (paths[PATH]["post"], paths[f"{PATH}/{{name}}"]["put"]):
        assert set(operation["requestBody"]["content"]) == {
            "application/json",
            "multipart/form-data",
            "application/octet-stream",
        }
    assert {"201", "409", "413", "422", "503"} <= set(paths[PATH]["post"]["responses"])
    assert {"200", "201", "422"} <= set(paths[f"{PATH}/{{name}}"]["put"]["responses"])
