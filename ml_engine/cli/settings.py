"""Settings of an analysis from files: JSON as the API takes them, calibrations as JSON or NumPy's
.npz.
"""

from __future__ import annotations

import json
from pathlib import Path

from core.domain.analysis import AnalysisSettings, parse_settings
from core.errors import InvalidSettings
from core.geometry.calibration import NPZ_LIMIT_BYTES, check_calibration
from core.geometry.calibration_files import read_file

SETTINGS_LIMIT_BYTES = 4 * 2**20


def read_settings(
    path: Path | None,
    *,
    calibration: Path | None = None,
    only: str | None = None,
    render: bool | None = None,
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
    data: dict[str, object] = {}
    if path is not None:
        data = _read_json(path)
    if calibration is not None:
        data["calibration"] = read_calibration(calibration, camera=data.get("camera"))
    if only is not None:
        data["only"] = only
    if render is not None:
        data["render"] = render
    settings = parse_settings(data)
    check_calibration(settings.calibration)
    return settings


def read_calibration(path: Path, *, camera: object = None) -> dict[str, object]:
    """Read correspondences from a file as `core.geometry.calibration_files` knows them; `camera`
    names one where the file has several.

    Raises:
        InvalidCalibration: It is none of these (code `bad_calibration_file`), or names several
            cameras (`calibration_camera_unknown`).
        OSError: It cannot be opened.
    """
    with path.open("rb") as file:
        data = read_file(
            file.read(NPZ_LIMIT_BYTES + 1), camera=camera if isinstance(camera, str) else None
        )
    # It says whose the file is, which the settings say themselves.
    data.pop("camera", None)
    return data


def _read_json(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        text = file.read(SETTINGS_LIMIT_BYTES + 1)
    if len(text) > SETTINGS_LIMIT_BYTES:
        raise InvalidSettings(
            f"The settings file {path.name} has more than {SETTINGS_LIMIT_BYTES} bytes."
        )
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidSettings(f"The settings file {path.name} is not JSON: {error}.") from error
    if not isinstance(data, dict):
        raise InvalidSettings(f"The settings file {path.name} must hold a JSON object.")
    return data
