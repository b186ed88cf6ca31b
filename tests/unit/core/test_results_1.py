"""Results and counts of versions 1.x are read as those of version 2.0, from a real installation of
release 0.1.
"""

from __future__ import annotations

import json
import re
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core.domain.job import Job
from core.domain.results import ClassCounts, Figures
from core.domain.results.notes import OTHER, REASONS, WARNINGS, Note, reason, warning
from tests.conftest import REPOSITORY

INSTALLATION = REPOSITORY / "tests" / "data" / "installation_0_1"
EXPECTED = json.loads((INSTALLATION / "expected.json").read_text())
COMPLETED = EXPECTED["jobs"]["completed"]
FIGURES = {"unique": 4, "low": 3, "high": 6, "peak": 3, "mean": 2.5}


@pytest.mark.parametrize(
    ("text", "code", "rest"),
    [
        (
            "re-entry: 2 appeared after others had left; may already be counted",
            "re_entry",
            "2 appeared after others had left; may already be counted",
        ),
        (
            "uncertain joins: 1 track goes on an earlier one, or show another animal",
            "uncertain_joins",
            "1 track goes on an earlier one, or show another animal",
        ),
        (
            "doubtful: 3 more may be animals, or mistakes of the detector",
            "doubtful",
            "3 more may be animals, or mistakes of the detector",
        ),
        (
            "short tracks: 1 was seen for less than half a second",
            "short_tracks",
            "1 was seen for less than half a second",
        ),
        (
            "unreadable frames: in 3 frames nobody could be seen",
            "unreadable_frames",
            "in 3 frames nobody could be seen",
        ),
        ("43 of 44 seen", "expected", "43 of 44 seen"),
        ("weather: fog", OTHER, "weather: fog"),
        ("", OTHER, ""),
    ],
)
def test_a_reason_of_1_x_has_a_code(text: str, code: str, rest: str) -> None:
    (read,) = ClassCounts.model_validate({**FIGURES, "reasons": [text]}).reasons
    assert read == Note(code=code, text=rest)
    assert code in REASONS


def test_a_warning_of_1_x_has_a_text() -> None:
    old = {"code": "beyond_horizon", "message": "2 of 9 boxes stand too far."}
    assert Note.model_validate(old) == Note(
        code="beyond_horizon", text="2 of 9 boxes stand too far."
    )


def test_a_record_of_release_0_1_is_read(tmp_path: Path) -> None:
    with tarfile.open(INSTALLATION / "installation.tar.xz") as archive:
        archive.extract("data/muster.sqlite3", tmp_path, filter="data")
    with closing(sqlite3.connect(tmp_path / "data" / "muster.sqlite3")) as opened:
        (document,) = opened.execute(
            "SELECT document FROM job_documents WHERE job_id = ?", (COMPLETED["id"],)
        ).fetchone()
    stored = json.loads(document)["counts"]
    assert "interval_basis" not in stored["cattle"]
    counts = _job(stored).counts
    assert counts is not None and list(counts) == ["bison", "cattle", "person"]
    assert counts["cattle"].model_dump() == {
        **stored["cattle"],
        "interval_basis": "detected",
        "reasons": (),
    }


def test_a_reason_that_release_0_1_published_is_read() -> None:
    published = [job["counts"] for job in EXPECTED["jobs"].values() if job["counts"]]
    with_reasons = [each for each in published if each["cattle"]["reasons"]]
    counts = _job(with_reasons[0]).counts
    assert counts is not None
    text = "5 tracks are faint, short, or behind others: perhaps no animals"
    assert counts["cattle"].reasons == (Note(code="doubtful", text=text),)


def test_counts_of_an_old_worker_beside_a_new_api() -> None:
    published = {"cattle": {**FIGURES, "interval_basis": "detected", "reasons": ["3 of 4 seen"]}}
    counts = _job(published).counts
    assert counts is not None
    assert counts["cattle"].reasons == (Note(code="expected", text="3 of 4 seen"),)


def test_counts_of_a_later_release_are_read() -> None:
    later = {**FIGURES, "seen": 4, "reasons": [{"code": "of_later", "text": "new", "weight": 1}]}
    counts = _job({"sheep": later}).counts
    assert counts is not None
    assert counts["sheep"].reasons == (Note(code="of_later", text="new"),)


def test_figures_need_no_known_settings() -> None:
    video = {"frames": 2, "fps": 10.0, "width": 4, "height": 3, "duration_s": 0.2}
    results = {
        "version": "1.0",
        "video": video,
        "counts": {"cattle": {**FIGURES, "reasons": ["1 of 2 seen"]}},
        "lines": [],
        "settings": {"of_a_later_release": 1},
        "warnings": [],
    }
    figures = Figures.model_validate_json(json.dumps(results))
    assert (figures.version, figures.interval_basis) == ("1.0", "detected")
    assert figures.counts["cattle"].reasons[0].code == "expected"


def test_codes_are_listed() -> None:
    assert all(re.fullmatch(r"[a-z0-9_]+", code) for code in {*REASONS, *WARNINGS})
    with pytest.raises(KeyError):
        reason("unlisted", "text")
    assert warning("unlisted", "text") == Note(code=OTHER, text="text")
    assert warning("nothing_found", "text").code == "nothing_found"


def _job(counts: dict[str, Any]) -> Job:
    moment = "2026-06-01T00:00:00Z"
    times = dict.fromkeys(("created_at_utc", "updated_at_utc", "heartbeat_at_utc"), moment)
    file = {"name": "a.mp4", "blob": "b", "size_bytes": 1, "etag": "e"}
    return Job.model_validate({"id": "a", "files": [file], "counts": counts, **times})
