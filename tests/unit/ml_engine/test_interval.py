"""Wherever a person sees the range of a count, it says what it is a range of."""

from __future__ import annotations

import argparse
import io
import json
import re
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from PIL import ImageDraw
from rich.console import Console

import ml_engine
from api.app import create_app
from core.domain.analysis import AnalysisSettings
from core.domain.interval import INTERVAL_BASIS, INTERVAL_NOTE
from infra import run as make_run
from ml_engine.cli import evaluate as commands
from ml_engine.drawing.contact_sheet_cells import fitted, font
from ml_engine.evaluation.report import Report
from ml_engine.progress import print_counts
from ml_engine.stages.assemble import Assembled, assemble
from ml_engine.training.model_card import Facts, write_card
from tests.support.logs import box_at, log_of, video_facts
from tests.unit.ml_engine.test_contact_sheet import animal, counted, sheet_of

ENGINE = Path(ml_engine.__file__).parent
README = (ENGINE.parent / "README.md").read_text()
CARD = (ENGINE / "checkpoints" / "pasture" / "MODEL_CARD.md").read_text()
SCHEMA = (ENGINE / "results" / "results.schema.json").read_text()
SECOND_SENTENCE = "nimals that the detector missed are not in this range"
CLAIM = re.compile(r"9[05] ?%|percentile")
CONDITION = re.compile(r"what was detected|bootstrap|errors assumed|simulated")


def assembled() -> Assembled:
    log = log_of([[(box_at((200, 200)), {"cattle": 0.9})] for _ in range(20)])
    detector = {
        "name": "test",
        "input_hw": (416, 416),
        "thresholds": {"bison": 0.5, "cattle": 0.5, "person": 0.5},
    }
    return assemble(log, settings=AnalysisSettings(), video=video_facts(20, 10), detector=detector)


def test_the_sentence() -> None:
    assert (
        INTERVAL_NOTE
        == "low to high: range of what was detected. Animals that the detector missed are not in this range."
    )
    assert INTERVAL_BASIS == "detected"


def test_results_say_it_for_every_class() -> None:
    results = json.loads(assembled().files["results.json"])
    assert (results["version"], results["interval_basis"]) == ("2.0", "detected")
    assert {
        name: count["interval_basis"] for name, count in results["counts"].items()
    } == dict.fromkeys(("bison", "cattle", "person"), "detected")


def test_another_basis_is_not_valid() -> None:
    results = json.loads(assembled().files["results.json"])
    jsonschema.validate(results, json.loads(SCHEMA))
    results["counts"]["cattle"]["interval_basis"] = "everything"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(results, json.loads(SCHEMA))
    described = json.loads(SCHEMA)["$defs"]["ClassCounts"]["properties"]
    assert described["interval_basis"]["description"].startswith(INTERVAL_NOTE)


def test_the_table_of_count(capsys: pytest.CaptureFixture[str]) -> None:
    print_counts(assembled().results)
    assert INTERVAL_NOTE in capsys.readouterr().out.splitlines()


def test_the_table_of_make_run() -> None:
    done = {
        "id": "a" * 32,
        "state": "completed",
        "progress": {"fraction": 1.0},
        "counts": assembled().results.model_dump(mode="json")["counts"],
    }

    def answer(request: httpx.Request) -> httpx.Response:
        listing = request.method == "GET" and request.url.path == "/api/v1/jobs"
        return httpx.Response(200, json={"items": []} if listing else done)

    printed = io.StringIO()
    with httpx.Client(base_url="http://localhost", transport=httpx.MockTransport(answer)) as client:
        make_run._show_sample(client, Console(soft_wrap=True, file=printed))
    lines = printed.getvalue().splitlines()
    assert (
        lines.index(INTERVAL_NOTE)
        == next(n for n, line in enumerate(lines) if line.startswith("└")) + 1
    )


@pytest.mark.parametrize("number", [0, 9, 1500])
def test_the_contact_sheet(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    painted: list[tuple[str, float]] = []
    paint = ImageDraw.ImageDraw.text

    def recorded(
        draw: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, *rest: Any, **more: Any
    ) -> None:
        painted.append((text, xy[1]))
        paint(draw, xy, text, *rest, **more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", recorded)
    sheet_of([animal(n + 1) for n in range(number)], {"cattle": counted(9, 8, 9)}).jpeg()
    assert painted[0] == (INTERVAL_NOTE, 14), "whole, and above all else"
    assert [text for text, _ in painted if text.startswith("cattle")] == [
        "cattle: 9 (8 to 9 of what was detected)"
    ]


def test_four_figures_leave_room_for_the_condition() -> None:
    widest = "cattle: 8888 (8888 to 8888 of what was detected)"
    assert fitted(widest, 1440 - 56, 34) == widest and font(34).getlength(widest) < 1384


def test_the_documentation_of_the_api() -> None:
    schema = create_app().openapi()
    models, paths = schema["components"]["schemas"], schema["paths"]
    assert INTERVAL_NOTE in models["JobView"]["properties"]["counts"]["description"]
    for key in ("low", "high"):
        assert models["ClassStatistics"]["properties"][key]["description"] == INTERVAL_NOTE
    assert (
        INTERVAL_NOTE
        in paths["/api/v1/jobs/{job_id}/results"]["get"]["responses"]["200"]["description"]
    )
    claims = [line for line in json.dumps(schema, indent=1).splitlines() if CLAIM.search(line)]
    assert claims and [line for line in claims if not CONDITION.search(line)] == []


@pytest.mark.parametrize(
    ("kind", "sentence"), [("mot", INTERVAL_NOTE), ("simulator", "simulated scenes")]
)
def test_evaluations(
    kind: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(
        commands.KINDS, kind, lambda _: Report({"scenes": 1, "unique": 1}, "by_sequence", {})
    )
    assert commands.evaluate(argparse.Namespace(kind=kind, json=None)) == 0
    assert sentence in capsys.readouterr().out.splitlines()[-1]


def test_the_readme() -> None:
    assert README.count(f"\n{INTERVAL_NOTE}\n") == 2, (
        "under the tables of `make run` and of `count`"
    )
    first_screen = "\n".join(README.splitlines()[:40])
    for said in (
        "real Azure",
        "real `mongod`",
        "GPU",
        "as cattle: of 221 photographs",
        "what was detected",
        SECOND_SENTENCE,
    ):
        assert said in first_screen
    assert "`interval_basis` is `detected`" in " ".join(README.split())


def test_the_cards(tmp_path: Path) -> None:
    write_card(
        tmp_path, Facts(base="x", size=416, steps=1, seed=1, side=False, aerial=False, scenes=1), {}
    )
    for card in (CARD, (tmp_path / "MODEL_CARD.md").read_text()):
        assert (
            SECOND_SENTENCE in " ".join(card.split()) and "Elephants, sheep, goats, horses" in card
        )
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in CARD.splitlines()
        if line.startswith("|")
    ]
    assert {
        row[0]: row[2:]
        for row in rows
        if row[-1] in ("29 (16)", "1", "9", "not noted", "143 (131)")
    } == {
        "221 with other animals only": ["135", "29 (16)"],
        "of these: 55 of elephants": ["52", "1"],
        "49 of sheep and goats": ["36", "9"],
        "18 of horses": ["12", "not noted"],
        "16 of dogs": ["9", "not noted"],
        "172 of cows from the side": ["132", "143 (131)"],
    }


@pytest.mark.parametrize("text", [README, CARD, SCHEMA], ids=["README", "card", "schema"])
def test_no_percentage_is_claimed_without_its_condition(text: str) -> None:
    claims = [line for line in text.splitlines() if CLAIM.search(line)]
    assert claims and [line for line in claims if not CONDITION.search(line)] == []
