"""Settings of an analysis from files: JSON as the API takes them, calibrations as JSON or NumPy's .npz."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.calibration import NPZ_LIMIT_BYTES, check_calibration, read_npz
from core.domain.analysis import AnalysisSettings, parse_settings
from core.errors import InvalidCalibration, InvalidSettings

SETTINGS_LIMIT_BYTES = 4 * 2**20


def read_settings(
    path: Path | None, *, calibration: Path | None = None, only: str | None = None, render: bool | None = None
) -> AnalysisSettings:
    """Read settings from a file and change them by what was said on the command line.

    Args:
        path: JSON file of settings; None for all defaults.
        calibration: File of correspondences, in place of those in the settings.
        only, render: In place of the settings' where not None.

    Raises:
        InvalidSettings: Unreadable, unknown keys, bad values.
        InvalidCalibration: The correspondences cannot be read, or fix no homography.
        OSError: A file cannot be opened.
    """
    data: dict[str, Any] = {}
    if path is not None:
        data = _read_json(path, "settings", InvalidSettings, SETTINGS_LIMIT_BYTES)
    if calibration is not None:
        data["calibration"] = read_calibration(calibration)
    if only is not None:
        data["only"] = only
    if render is not None:
        data["render"] = render
    settings = parse_settings(data)
    check_calibration(settings.calibration)
    return settings


def read_calibration(path: Path) -> dict[str, Any]:
    """Read correspondences: `.npz` with `image_points` and `map_points`, or JSON with `image_points`, `ground_points` and `unit`.

    Raises:
        InvalidCalibration: It is neither (code `bad_calibration_file`).
        OSError: It cannot be opened.
    """
    if path.suffix.lower() == ".npz":
        with path.open("rb") as file:
            return read_npz(file.read(NPZ_LIMIT_BYTES + 1))
    data = _read_json(path, "calibration", InvalidCalibration, NPZ_LIMIT_BYTES, code="bad_calibration_file")
    if "map_points" in data and "ground_points" not in data:
        data["ground_points"] = data.pop("map_points")
    return data


def _read_json(
    path: Path, what: str, error_type: type[InvalidSettings | InvalidCalibration], limit_bytes: int, code: str | None = None
) -> dict[str, Any]:
    with path.open("rb") as file:
        text = file.read(limit_bytes + 1)
    if len(text) > limit_bytes:
        raise error_type(f"The {what} file {path.name} has more than {limit_bytes} bytes.", code=code)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise error_type(f"The {what} file {path.name} is not JSON: {error}.", code=code) from error
    if not isinstance(data, dict):
        raise error_type(f"The {what} file {path.name} must hold a JSON object.", code=code)
    return data
