"""The worked example of docs/explanation/counting.md, by its formulas and by the real functions."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from core.domain.classes import CLASSES
from ml_engine.camera_motion.path import Camera
from ml_engine.counting.estimate import ReturnModel
from ml_engine.counting.sampling import (
    DRAWS,
    USUAL_HITS,
    USUAL_SPAN_S,
    Candidates,
    Draws,
    Evidence,
    PopulationModel,
    chain_sums,
    draw,
    probability_real,
    quantiles,
)
from ml_engine.counting.visibility import Presence
from ml_engine.tracking.link_model import LinkModel
from ml_engine.tracking.link_odds import OTHERS_RESIZED, View, possible_links
from ml_engine.tracking.stitching import StitchOptions
from ml_engine.tracking.tracklets import RATE_PRIOR_S, WINDOW_S, Boxes, describe
from tests.conftest import REPOSITORY

PAGE = " ".join((REPOSITORY / "docs" / "explanation" / "counting.md").read_text().split())
"""Without line breaks: a paragraph may be wrapped anew."""
EXAMPLE = PAGE.partition("## A worked example")[2]
FPS, SECONDS, RESOLUTION_WH, BOX_WH = 10, 12, (1920, 1080), (100, 80)
TRACKS = {
    # From second, to second, x, y, px a second, mean strength.
    "A": (0.0, 11.9, 400, 300, 0, 1.6),
    "B": (0.0, 4.9, 900, 600, 20, 1.5),
    "C": (6.5, 11.9, 1230, 600, 20, 1.5),
    "D": (2.0, 2.7, 300, 800, 0, 1.02),
}
B, C, D = 1, 2, 3


def rows_of(begin_s: float, end_s: float) -> npt.NDArray[np.int64]:
    return np.arange(round(begin_s * FPS), round(end_s * FPS) + 1)


def example_boxes() -> Boxes:
    parts = []
    for number, (begin_s, end_s, x, y, speed, _) in enumerate(TRACKS.values()):
        rows = rows_of(begin_s, end_s)
        centre = x + speed * (rows - rows[0]) / FPS
        half_w, half_h = BOX_WH[0] / 2, BOX_WH[1] / 2
        top, bottom = np.full(len(rows), y - half_h), np.full(len(rows), y + half_h)
        xyxy = np.stack([centre - half_w, top, centre + half_w, bottom], axis=1)
        parts.append((np.full(len(rows), number), rows, rows / FPS, xyxy))
    return Boxes(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def real_log_odds() -> float:
    frames = FPS * SECONDS
    camera = Camera(
        np.tile(np.eye(3), (frames, 1, 1)),
        np.zeros(frames, np.int32),
        ("first_frame",),
        np.zeros(1, np.int64),
    )
    view = View(RESOLUTION_WH, np.arange(frames) / FPS, float(SECONDS), camera, look_s=1 / FPS)
    links = possible_links(describe(example_boxes(), camera), view, LinkModel(), float(SECONDS))
    (row,) = np.flatnonzero((links.before == B) & (links.after == C))
    return float(links.log_odds[row])


def log_t(x: float, sigma2: float) -> float:
    return -3 * math.log1p(x**2 / (4 * sigma2)) - math.log(2 * math.pi * sigma2)


def fitted(name: str, *, at_end: bool) -> dict[str, float]:
    """Return place and velocity at an end of a track: a line through its boxes within `WINDOW_S`."""
    begin_s, end_s, x, _, speed, _ = TRACKS[name]
    times_s = rows_of(begin_s, end_s) / FPS
    anchor_s = times_s[-1] if at_end else times_s[0]
    apart_s = (times_s - anchor_s)[np.abs(times_s - anchor_s) <= WINDOW_S]
    mean_s, mean_x = float(apart_s.mean()), x + speed * float((apart_s + anchor_s - begin_s).mean())
    squares = float(((apart_s - mean_s) ** 2).sum())
    spread = squares + len(apart_s) * RATE_PRIOR_S**2 / 12
    rate = speed * squares / spread
    return {"place": mean_x - rate * mean_s, "rate": rate, "spread": spread}


def terms_by_hand() -> dict[str, float]:
    """Return the terms of L, by the formulas of the page and nothing else."""
    model, gap_s = LinkModel(), 1.6
    size_px = math.sqrt(BOX_WH[0] * BOX_WH[1])
    ended, begins = fitted("B", at_end=True), fitted("C", at_end=False)
    errors = [model.place_rate / math.sqrt(end["spread"]) for end in (ended, begins)]
    trusts = [1 / (1 + (error / model.usual_rate) ** 2) for error in errors]
    trust = 1 - (1 - trusts[0]) * (1 - trusts[1])
    rates = [end["rate"] / size_px for end in (ended, begins)]
    rate = sum(r * t for r, t in zip(rates, trusts, strict=True)) / sum(trusts) * trust
    error = math.sqrt(1 - trust) * model.usual_rate
    going = model.keep_rate_s * (1 - math.exp(-gap_s / model.keep_rate_s))
    missed = (begins["place"] - ended["place"]) / size_px - rate * going
    changed, changed2 = rates[1] - rates[0], model.hasten**2 + sum(e**2 for e in errors)
    sigma2 = (
        2 * model.place**2
        + model.wander**2 * gap_s
        + (model.walk * rate * (gap_s - going)) ** 2
        + (error * going) ** 2
        + model.tremble**2 * gap_s
    )
    s = min(math.sqrt(2 * model.resize**2 + (model.resize_s * gap_s) ** 2), model.resize_most)
    soon_s = model.soon_frames / FPS
    area = RESOLUTION_WH[0] * RESOLUTION_WH[1] / size_px**2
    firsts, lasts = zip(
        *((rows_of(*t[:2])[0], rows_of(*t[:2])[-1]) for t in TRACKS.values()), strict=True
    )
    at_once = float(
        np.mean(
            [sum(b <= f for b in firsts) - sum(e <= f for e in lasts) for f in range(FPS * SECONDS)]
        )
    )
    return {
        "movement": log_t(missed, sigma2)
        + (log_t(changed, changed2) - log_t(0, changed2)) * math.exp(-gap_s / model.same_rate_s),
        "size": 2 * math.log(OTHERS_RESIZED / s),
        "gap": math.log(
            (1 - model.soon) / model.hidden_s * math.exp(-gap_s / model.hidden_s)
            + model.soon / soon_s * math.exp(-gap_s / soon_s)
        ),
        "stays": math.log((1 - model.gone_inside) / model.gone_inside),
        "− new": -math.log(model.come_inside * (1 + at_once) / area / SECONDS),
    }


def example_evidence() -> Evidence:
    count = np.array([len(rows_of(*track[:2])) for track in TRACKS.values()], float)
    nothing = np.zeros(len(count))
    strength = np.array([track[5] for track in TRACKS.values()])
    votes = np.outer(count, [-3.0, -0.3, -4.0])
    begin_s, end_s = (np.array([track[i] for track in TRACKS.values()]) for i in (0, 1))
    return Evidence(
        begin_s, end_s, count, count, count * strength, nothing, nothing, nothing, votes
    )


def example_samples() -> Draws:
    model = ReturnModel()
    odds = model.inside_bias + model.link_scale * real_log_odds()
    no = np.zeros(1, bool)
    candidates = Candidates(np.array([B]), np.array([C]), np.array([odds]), no, no)
    return draw(example_evidence(), candidates, PopulationModel())


def minus(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


def test_the_formulas_of_the_page_give_what_the_code_gives() -> None:
    assert sum(terms_by_hand().values()) == pytest.approx(real_log_odds(), abs=1e-9)


def test_the_terms_of_the_link_are_those_of_the_page() -> None:
    for name, value in {**terms_by_hand(), "L": real_log_odds()}.items():
        assert f"| {name} | {minus(value)} |" in EXAMPLE
    assert real_log_odds() < StitchOptions().least_log_odds == -1.5
    odds = ReturnModel().inside_bias + ReturnModel().link_scale * real_log_odds()
    assert f"= {odds:.3f}:" in EXAMPLE and f"probability {1 / (1 + math.exp(-odds)):.3f}" in EXAMPLE


def test_the_probabilities_of_being_real_are_those_of_the_page() -> None:
    model = PopulationModel()
    sums = chain_sums(np.arange(len(TRACKS))[None], example_evidence())
    real = probability_real(sums, model)[0]
    terms = {
        "real_bias": model.real_bias,
        "real_span · ln(0.7 / 0.5)": model.real_span * math.log(0.7 / USUAL_SPAN_S),
        "real_strength · ln(1.02 / 1.02)": model.real_strength
        * math.log(1.02 / model.usual_strength),
        "real_hits · (1 − 0.8)": model.real_hits * (1 - USUAL_HITS),
    }
    odds = sum(terms.values())
    visible = 1 / (1 + math.exp(-1.7 * (0.7 - model.needed_s) / model.blur_s))
    assert visible / (1 + math.exp(-odds)) == pytest.approx(real[D])
    for name, value in {**terms, "odds": odds, "P(real)": float(real[D])}.items():
        assert f"| {name} | {minus(value)} |" in EXAMPLE
    assert real[:D].min() >= 0.999


def test_the_samples_and_the_result_are_those_of_the_page() -> None:
    samples = example_samples()
    unique = samples.unique()[:, CLASSES.index("cattle")]
    joined, kept = int((samples.root[:, C] == B).sum()), int(samples.kept[:, D].sum())
    assert f"Of the {DRAWS} samples, {joined} join B and C, and {kept} keep D" in EXAMPLE
    for number, count in zip(*np.unique(unique, return_counts=True), strict=True):
        assert f"| {number} | {count} |" in EXAMPLE
    low, middle, high = quantiles(unique, np.full(DRAWS, 1 / DRAWS), (0.05, 0.5, 0.95))
    assert f"The median is {middle}, the 5th percentile {low}, the 95th {high}." in EXAMPLE
    frames = np.zeros(FPS * SECONDS, np.int64)
    for track in TRACKS.values():
        frames[rows_of(*track[:2])] += 1
    looked = np.ones(len(frames), bool)
    peak = Presence(0, len(frames), len(TRACKS), looked, 1 / FPS, 1 / FPS, 0.5).peak(frames)
    assert f"`peak` is {peak}," in EXAMPLE
    result = f"`unique` {max(middle, peak)}, `low` {max(low, peak)}, `high` {max(high, peak)}"
    assert result in EXAMPLE


def constants() -> Iterator[tuple[str, float]]:
    returns = ReturnModel()
    yield from (("link_bias ", returns.link_bias), ("inside_bias ", returns.inside_bias))
    yield from (("turned_bias ", returns.turned_bias),)


@pytest.mark.parametrize(("name", "value"), list(constants()))
def test_constants_that_the_page_states_are_those_of_the_code(name: str, value: float) -> None:
    assert f"{name}({value})" in PAGE


def test_further_constants_of_the_page() -> None:
    returns = ReturnModel()
    rounds = ", ".join(f"{value:g}" for value in StitchOptions().rounds_s)
    assert f"`rounds_s`: {rounds} s" in PAGE
    assert f"link_scale = {returns.link_scale} " in PAGE
    assert f"`open_odds` = −{-returns.open_odds:g}" in PAGE
    assert (
        f"`closed_odds` ({returns.closed_odds:g}) or `closed_inside` ({returns.closed_inside:g})"
        in PAGE
    )
    assert f"`scenario` = {PopulationModel().scenario:g}" in PAGE
    assert f"`left_bias` (−{-returns.left_bias})" in PAGE
