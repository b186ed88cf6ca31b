"""Calibration files: told by content, whatever their name says; the same for the API and the
command line.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import InvalidCalibration
from core.geometry.calibration_files import read_file
from ml_engine.cli.settings import read_settings

IMAGE = [[0, 0], [640, 0], [640, 480], [0, 480]]
GROUND = [[0, 48], [64, 48], [64, 0], [0, 0]]
PLACE = {
    "ground_plane": {"pixels_per_meter": 50},
    "cameras": [
        {
            "id": name,
            "source_points": IMAGE,
            "destination_points": (np.array(GROUND) * scale).tolist(),
        }
        for name, scale in (("a", 50), (7, 100))
    ],
}


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_the_three_kinds_say_the_same() -> None:
    archive = io.BytesIO()
    np.savez(archive, image_points=np.array(IMAGE), map_points=np.array(GROUND))
    plain = {"image_points": IMAGE, "ground_points": GROUND}
    for data in (
        archive.getvalue(),
        as_json(plain),
        as_json({"image_points": IMAGE, "map_points": GROUND}),
        as_json(PLACE),
    ):
        given = read_file(data, camera="a")
        assert (given["image_points"], given["ground_points"]) == (IMAGE, GROUND)
    ground = read_file(as_json(PLACE), camera="7")["ground_points"]
    assert isinstance(ground, list) and ground[0] == [0, 96]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "bad_calibration_file"),
        (b"x,y\n1,2\n", "bad_calibration_file"),
        (b"[]", "bad_calibration_file"),
        (b"PK\x03\x04", "bad_calibration_file"),
        (b" " * (4 * 2**20 + 1), "bad_calibration_file"),
        (as_json(PLACE), "calibration_camera_unknown"),
        (
            as_json(
                {
                    **PLACE,
                    "cameras": [{"id": 1, "source_points": IMAGE, "destination_points": [[1]]}],
                }
            ),
            "bad_calibration_file",
        ),
    ],
)
def test_other_files_are_refused(data: bytes, code: str) -> None:
    with pytest.raises(InvalidCalibration) as caught:
        read_file(data)
    assert caught.value.code == code


def test_the_command_line_takes_the_camera_from_the_settings(tmp_path: Path) -> None:
    place, settings, own = tmp_path / "place.dat", tmp_path / "settings.json", tmp_path / "own.json"
    place.write_bytes(as_json(PLACE))
    settings.write_bytes(as_json({"camera": "7"}))
    own.write_bytes(
        as_json(
            {
                "name": "yard",
                "camera": "whose it is",
                "image_points": IMAGE,
                "ground_points": GROUND,
            }
        )
    )
    chosen = read_settings(settings, calibration=place).calibration
    assert chosen is not None
    assert chosen.ground_points[0] == (0, 96)
    with pytest.raises(InvalidCalibration):
        read_settings(None, calibration=place)
    stored = read_settings(None, calibration=own).calibration
    assert stored is not None
    assert stored.name == "yard"
