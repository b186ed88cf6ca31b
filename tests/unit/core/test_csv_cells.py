"""No cell of a CSV that Muster writes is a formula, whatever people call their lines, zones and
cameras.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest

from core.domain.analysis import AnalysisSettings, CalibrationSettings, Line, Zone, parse_settings
from core.domain.blobs import ARTIFACTS
from ml_engine.stages.assemble import assemble
from tests.support.logs import box_at, log_of, video_facts

REPOSITORY = Path(__file__).parents[3]
FORMULAS = (
    "=1+1",
    '=HYPERLINK("evil.example","x")',
    "+1",
    "-1+1",
    "@SUM(A1)",
    "|calc",
    "\N{FULLWIDTH EQUALS SIGN}1+1",
    "%0A=1",
    '"=1',
    ";=1",
    ",=1",
)
NUMBER = re.compile(r"-?\d+(\.\d+)?")
WORDS = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _:;,.()%-]*")
CORNERS = ((0.0, 0.0), (640.0, 0.0), (640.0, 480.0), (0.0, 480.0))


def settings_with(name: str) -> AnalysisSettings:
    """Return settings in which everything that a person names has this name."""
    return AnalysisSettings(
        camera=name,
        lines=(Line(name=name, start=(0, 240), end=(640, 240)),),
        zones=(
            Zone(name=name, polygon=CORNERS),
            Zone(name=f"{name} 2", polygon=CORNERS, mode="include"),
        ),
        calibration=CalibrationSettings(
            image_points=CORNERS,
            ground_points=((0, 48), (64, 48), (64, 0), (0, 0)),
            unit="m",
            name=name,
        ),
        expected=3,
    )


def written(name: str) -> dict[str, bytes]:
    """Count a scene with a cow that crosses the line, and one that is doubtful; return the files."""
    cow = [(box_at((200, 150 + 6 * t)), {"cattle": 0.9, "animal": 0.9}) for t in range(30)]
    faint = [(box_at((500, 300)), {"cattle": 0.52, "animal": 0.52}) for _ in range(30)]
    log = log_of(
        [
            [seen, other] if t > 20 else [seen]
            for t, (seen, other) in enumerate(zip(cow, faint, strict=True))
        ]
    )
    detector = {
        "name": name,
        "input_hw": (416, 416),
        "thresholds": {"bison": 0.5, "cattle": 0.5, "person": 0.5},
    }
    return assemble(
        log, settings=settings_with(name), video=video_facts(30, 10), detector=detector
    ).files


@pytest.mark.parametrize("name", FORMULAS)
def test_every_cell_is_a_number_or_begins_with_a_letter_or_digit(name: str) -> None:
    assert parse_settings({"camera": name}).camera == name, "it may be typed"
    files = {file: data for file, data in written(name).items() if file.endswith(".csv")}
    assert set(files) == {file for file, kind in ARTIFACTS.items() if kind.startswith("text/csv")}
    for file, data in files.items():
        rows = list(csv.reader(io.StringIO(data.decode())))
        assert len(rows) > 1, file
        for cell in (cell for row in rows for cell in row if cell):
            assert NUMBER.fullmatch(cell) or WORDS.fullmatch(cell), f"{file}: {cell!r}"
        assert name.encode() not in data, file
        assert b"\t" not in data and b"\r" not in data, file


def test_a_reason_that_is_shown_is_one_of_muster() -> None:
    (animals,) = [data for file, data in written("=1+1").items() if file == "animals.csv"]
    rows = list(csv.DictReader(io.StringIO(animals.decode())))
    assert np.any([row["reason"] for row in rows]), (
        "a cell of words is among those that were looked at"
    )


def test_no_other_code_writes_csv() -> None:
    """A new writer must be looked at by the tests above."""
    writers = {
        path.relative_to(REPOSITORY).as_posix()
        for package in ("api", "core", "infra", "ml_engine", "worker")
        for path in (REPOSITORY / package).rglob("*.py")
        if "node_modules" not in path.parts
        and re.search(r"csv\.writer|DictWriter|write_csv|to_csv|savetxt", path.read_text())
    }
    assert writers == {"ml_engine/counting/individuals.py", "ml_engine/results/tables.py"}
