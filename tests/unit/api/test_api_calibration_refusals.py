"""Calibrations that fix nothing or cannot be read are refused with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.api_stand import ApiStand, running_api
from tests.support.calibration_requests import GROUND, PATH, body, npz, view


@pytest.fixture
async def api():
    async with running_api() as stand:
        yield stand


LINE = [[0.0, 8], [1, 10], [2, 12], [3, 14], [4, 16]]
REFUSED_POINTS: list[tuple[dict[str, Any], str]] = [
    ({"ground_points": view(GROUND).tolist()}, "calibration_identity"),
    (
        {
            "image_points": view(GROUND)[:2].repeat(3, axis=0).tolist(),
            "ground_points": GROUND[:6].tolist(),
        },
        "calibration_duplicates",
    ),
    (
        {"image_points": view(np.array(LINE)).tolist(), "ground_points": LINE},
        "calibration_collinear",
    ),
    ({"image_points": view(GROUND)[:5].tolist(), "ground_points": LINE}, "calibration_collinear"),
    (
        {"ground_points": GROUND[np.random.default_rng(3).permutation(16)].tolist()},
        "calibration_inconsistent",
    ),
    (
        {"ground_points": (GROUND[:, ::-1] / 111_320 + (48, 11.5)).tolist(), "unit": "wgs84"},
        "calibration_mirrored",
    ),
    ({"ground_points": (GROUND * 100).tolist(), "unit": "wgs84"}, "calibration_not_degrees"),
    ({"image_points": [[0, 0]] * 3, "ground_points": [[0, 0]] * 3}, "invalid_calibration"),
    ({"ground_points": GROUND[:7].tolist()}, "invalid_calibration"),
    ({"unit": "feet"}, "invalid_calibration"),
    ({"ground_points": None}, "invalid_calibration"),
    ({"name": None}, "invalid_calibration"),
    ({"name": "../x"}, "invalid_calibration"),
    ({"name": ".."}, "invalid_calibration"),
    ({"name": "a/b"}, "invalid_calibration"),
    ({"name": "x" * 81}, "invalid_calibration"),
    ({"name": " x"}, "invalid_calibration"),
    ({"camera": ""}, "invalid_calibration"),
    ({"colour": "red"}, "invalid_calibration"),
]


@pytest.mark.parametrize(("changes", "code"), REFUSED_POINTS)
async def test_points_that_fix_nothing_are_refused_with_the_reason(
    api: ApiStand, changes: dict[str, Any], code: str
) -> None:
    answer = await api.client.post(PATH, json=body(**changes))
    problem = answer.json()
    assert (answer.status_code, problem["code"], answer.headers["content-type"]) == (
        422,
        code,
        "application/problem+json",
    )
    assert len(problem["detail"]) > 20
    assert (await api.client.get(PATH)).json() == {"items": [], "next_cursor": None}


async def test_every_fault_is_named(api: ApiStand) -> None:
    answer = await api.client.post(
        PATH, json={"name": "a/b", "unit": "feet", "image_points": [[0, 0]] * 4}
    )
    fields = [fault["field"] for fault in answer.json()["details"]["errors"]]
    assert sorted(fields) == ["ground_points", "name", "unit"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "bad_calibration_file"),
        (b"neither", "bad_calibration_file"),
        (b"[1, 2]", "bad_calibration_file"),
        (b"[" * 100_000, "bad_calibration_file"),
        (b"PK\x03\x04 but no archive", "bad_calibration_file"),
        (npz()[:300], "bad_calibration_file"),
        (npz(map_points=np.array([{}, {}], dtype=object)), "bad_calibration_file"),
        (npz(image_points=np.full((16, 2), np.nan)), "bad_calibration_file"),
        (npz(image_points=GROUND), "calibration_identity"),
        (
            b'{"image_points": [[NaN, 0], [1, 1], [2, 0], [0, 3]], "ground_points": [[0, 0], [1, 1], [2, 0], [0, 9]]}',
            "invalid_calibration",
        ),
    ],
)
@pytest.mark.parametrize("form", [True, False])
async def test_files_that_are_no_calibration(
    api: ApiStand, content: bytes, code: str, form: bool
) -> None:
    sent: dict[str, Any] = {"files": {"file": ("c.npz", content)}} if form else {"content": content}
    answer = await api.client.post(PATH, params={"name": "a"}, **sent)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_requests_that_cannot_be_read(api: ApiStand) -> None:
    async def refused(status: int, code: str, **sent: Any) -> None:
        answer = await api.client.post(PATH, **sent)
        assert (answer.status_code, answer.json()["code"]) == (status, code)

    await refused(400, "malformed_json", content=b"{", headers={"Content-Type": "application/json"})
    await refused(422, "invalid_calibration", json=[1])
    await refused(422, "missing_file", files={"name": (None, "a")})
    await refused(422, "unknown_part", files={"file": ("a.npz", npz()), "colour": (None, "red")})
    await refused(
        422, "doubled_part", files=[("file", ("a.npz", npz())), ("file", ("b.npz", npz()))]
    )
    await refused(413, "too_large", files={"file": ("a.npz", npz()), "name": (None, "x" * 2000)})
    await refused(413, "too_large", content=b"\0" * (4 * 2**20 + 1))
