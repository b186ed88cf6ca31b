"""The comparison of result files notices each kind of difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.compare_results import compare, main

RESULTS: dict[str, Any] = {
    "version": "1",
    "counts": {"cattle": {"unique": 3, "reasons": ["one"]}},
    "warnings": ["few"],
}
ANIMALS = 'class,number,reason\r\ncattle,1,"faint, short"\r\n'


def write(
    folder: Path,
    results: Any = RESULTS,
    animals: str = ANIMALS,
    picture: bytes = b"picture",
    preview: bytes = b"preview",
    seconds: float = 1,
) -> Path:
    (folder / "rows").mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "animals.csv").write_bytes(animals.encode())
    (folder / "rows" / "tracks.csv").write_bytes(b"frame,reason\n0,seen\n")
    (folder / "contact_sheet.jpg").write_bytes(picture)
    (folder / "preview.jpg").write_bytes(preview)
    (folder / "run.json").write_text(json.dumps({"seconds": seconds}))
    return folder


def verdicts(before: Path, after: Path, *, words: bool = False) -> dict[str, str]:
    return {line.name: line.verdict for line in compare(before, after, words=words)}


def test_equal_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = write(tmp_path / "a"), write(tmp_path / "b", seconds=2)
    assert verdicts(before, after) == dict.fromkeys(
        ("animals.csv", "contact_sheet.jpg", "preview.jpg", "results.json", "rows/tracks.csv"),
        "same",
    )
    assert main([str(before), str(after)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"results": {**RESULTS, "version": "2"}}, "results.json"),
        ({"results": {**RESULTS, "warnings": []}}, "results.json"),
        (
            {
                "results": {
                    **RESULTS,
                    "counts": {"cattle": {"unique": 3, "reasons": ["another", "two"]}},
                }
            },
            "results.json",
        ),
        ({"animals": 'class,number,reason\r\ncattle,1,"dim"\r\n'}, "animals.csv"),
        ({"picture": b"another"}, "contact_sheet.jpg"),
    ],
)
def test_words_differ(tmp_path: Path, change: dict[str, Any], name: str) -> None:
    before, after = write(tmp_path / "a"), write(tmp_path / "b", **change)
    assert [found for found, verdict in verdicts(before, after).items() if verdict != "same"] == [
        name
    ]
    assert main([str(before), str(after)]) == 1
    assert main([str(before), str(after), "--words"]) == 0


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (
            {"results": {**RESULTS, "counts": {"cattle": {"unique": 4, "reasons": ["one"]}}}},
            "results.json",
        ),
        ({"results": {**RESULTS, "more": None}}, "results.json"),
        ({"preview": b"another"}, "preview.jpg"),
        ({"animals": 'class,number,reason\r\nbison,1,"faint, short"\r\n'}, "animals.csv"),
        ({"animals": ANIMALS + "cattle,2,\r\n"}, "animals.csv"),
    ],
)
@pytest.mark.parametrize("words", [False, True])
def test_figures_differ(tmp_path: Path, change: dict[str, Any], name: str, words: bool) -> None:
    before, after = write(tmp_path / "a"), write(tmp_path / "b", **change)
    assert verdicts(before, after, words=words)[name] == "differs"
    assert main([str(before), str(after), *(["--words"] if words else [])]) == 1


def test_a_reason_outside_of_animals_csv_is_compared(tmp_path: Path) -> None:
    before, after = write(tmp_path / "a"), write(tmp_path / "b")
    (after / "rows" / "tracks.csv").write_bytes(b"frame,reason\n0,hidden\n")
    assert verdicts(before, after, words=True)["rows/tracks.csv"] == "differs"


@pytest.mark.parametrize(("missing", "verdict"), [("a", "only after"), ("b", "only before")])
@pytest.mark.parametrize("name", ["animals.csv", "contact_sheet.jpg"])
def test_a_missing_file_is_a_difference(
    tmp_path: Path, missing: str, verdict: str, name: str
) -> None:
    before, after = write(tmp_path / "a"), write(tmp_path / "b")
    (tmp_path / missing / name).unlink()
    assert verdicts(before, after, words=True)[name] == verdict
    assert main([str(before), str(after), "--words"]) == 1


def test_nothing_to_compare_is_not_equal(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty"), str(tmp_path / "absent")]) == 2
    assert main([str(write(tmp_path / "a")), str(tmp_path / "empty")]) == 2
