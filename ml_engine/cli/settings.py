"""Settings of an analysis from files.

Settings are JSON as for the API. Calibrations are JSON or NumPy's .npz.
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
    """Read settings from a file and apply the options of the command line.

    Args:
        path: JSON file of settings; None for all defaults.
        calibration: File of correspondences that replaces those in the settings.
        only, render: Replace those of the settings unless None.

    Raises:
        InvalidSettings: The file is unreadable, or has unknown keys or bad values.
        InvalidCalibration: The correspondences cannot be read, or do not determine a homography.
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
    """Read correspondences from a file in a format of `core.geometry.calibration_files`.

    `camera` names a camera if the file has several.

    Raises:
        InvalidCalibration: The file has another format (code `bad_calibration_file`), or several
            cameras (`calibration_camera_unknown`).
        OSError: It cannot be opened.
    """
    with path.open("rb") as file:
        data = read_file(
            file.read(NPZ_LIMIT_BYTES + 1), camera=camera if isinstance(camera, str) else None
        )
    # The file names its camera; the settings name it themselves.
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
    except (UnicodeDecodeError, RecursionError) as error:
        raise InvalidSettings(f"{path.name} is not a JSON file.") from error
    except ValueError as error:
        raise InvalidSettings(f"The settings file {path.name} is not JSON: {error}.") from error
    if not isinstance(data, dict):
        raise InvalidSettings(f"The settings file {path.name} must hold a JSON object.")
    return data
