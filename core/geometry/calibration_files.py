"""Calibration files: Muster's own JSON, NumPy's `.npz`, and SpotOn's JSON of cameras."""

from __future__ import annotations

import json
from typing import Any

from core.errors import InvalidCalibration
from core.geometry.calibration import NPZ_LIMIT_BYTES, read_npz


def read_file(data: bytes, *, camera: str | None = None) -> dict[str, object]:
    """Read a calibration file, whose format follows from its content and not from its name.

    Args:
        data: `.npz` with the arrays `image_points` and `map_points`; or JSON, an object with
            `image_points`, `ground_points` (or `map_points`) and optionally `unit`, `name`,
            `camera`; or SpotOn's JSON, an object with `cameras`, each with `id`, `source_points`
            (px) and `destination_points` (pixels of a map), and `ground_plane.pixels_per_meter`.
        camera: The camera of SpotOn's file; required if the file has several.

    Returns:
        The content of the file under the keys of `CalibrationSettings`. Values are not checked yet;
        other keys are not changed.

    Raises:
        InvalidCalibration: It is too large or has another format (code `bad_calibration_file`), or
            `camera` is not one of its several cameras (`calibration_camera_unknown`).
    """
    if data.startswith(b"PK"):
        return {**read_npz(data)}
    if len(data) > NPZ_LIMIT_BYTES:
        raise InvalidCalibration(
            f"A calibration file has at most {NPZ_LIMIT_BYTES} bytes.", code="bad_calibration_file"
        )
    try:
        given = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidCalibration(
            f"This file is neither an .npz nor JSON: {error}.", code="bad_calibration_file"
        ) from error
    if not isinstance(given, dict):
        raise InvalidCalibration(
            "A calibration file holds a JSON object with image_points and ground_points.",
            code="bad_calibration_file",
        )
    if "cameras" in given:
        return _camera_of(given, camera)
    if "map_points" in given and "ground_points" not in given:
        given["ground_points"] = given.pop("map_points")
    return given


def _camera_of(given: dict[str, Any], camera: str | None) -> dict[str, object]:
    try:
        per_metre = float(given["ground_plane"]["pixels_per_meter"])
        cameras = {str(item["id"]): item for item in given["cameras"]}
        ids = ", ".join(list(cameras)[:20])
        if camera not in cameras and len(cameras) != 1:
            raise InvalidCalibration(
                f"This file has the cameras {ids}. Choose one with 'camera'.",
                code="calibration_camera_unknown",
            )
        chosen = str(camera) if camera in cameras else next(iter(cameras))
        item = cameras[chosen]
        ground = [
            [float(x) / per_metre, float(y) / per_metre] for x, y in item["destination_points"]
        ]
        return {
            "camera": chosen,
            "image_points": item["source_points"],
            "ground_points": ground,
            "unit": "m",
        }
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise InvalidCalibration(
            "A file of cameras has ground_plane.pixels_per_meter and, for each camera,"
            " id, source_points and destination_points.",
            code="bad_calibration_file",
        ) from error
