"""The sample video is the film that its truth describes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

import ml_engine
from core.domain.classes import CLASSES
from ml_engine.synthetic.rendering import label_scene, render_scene
from ml_engine.synthetic.sample_truth import counts, crossings
from ml_engine.synthetic.sample_video import (
    FRAMES,
    HEIGHT,
    ROLES,
    WIDTH,
    check,
    sample_sequence,
    write_video,
)

FOLDER = Path(ml_engine.__file__).parent / "samples"


@pytest.fixture(scope="module")
def truth() -> dict:
    return json.loads((FOLDER / "pasture.truth.json").read_text())


def test_the_file_has_the_frames_and_the_format_that_the_truth_says(truth: dict) -> None:
    with av.open(str(FOLDER / "pasture.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (truth["width"], truth["height"]) == (WIDTH, HEIGHT)
        assert stream.average_rate == truth["fps"]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        packets = [p for p in container.demux(stream) if p.size]
    assert len(packets) == truth["frames"] == FRAMES >= 300
    keys = [i for i, p in enumerate(packets) if p.is_keyframe]
    assert keys == list(range(0, FRAMES, 50))


def test_the_file_is_small_enough_for_the_repository() -> None:
    assert (FOLDER / "pasture.mp4").stat().st_size <= 2_500_000


def test_what_moves_in_the_file_is_where_the_film_of_its_seed_has_it(truth: dict) -> None:
    sequence = sample_sequence(truth["seed"])
    with av.open(str(FOLDER / "pasture.mp4")) as container:
        frames = {
            n: f.to_ndarray(format="gray").astype(int)
            for n, f in enumerate(container.decode(video=0))
            if n in (60, 100)
        }
    changed = np.abs(frames[100] - frames[60]) > 60
    near = np.zeros_like(changed)
    for number in (60, 100):
        for label in label_scene(sequence.scene(number)):
            x0, y0, x1, y1 = (int(v) for v in label.xyxy)
            # Shadows move with their animals.
            near[max(y0 - 20, 0) : y1 + 20, max(x0 - 20, 0) : x1 + 20] = True
    assert changed.sum() > 3000
    assert near.mean() < 0.5
    assert (changed & near).sum() > 0.95 * changed.sum()


@pytest.mark.slow
def test_the_truth_is_what_the_film_says(truth: dict) -> None:
    sequence = sample_sequence(truth["seed"])
    every = 7
    frames = [list(label_scene(sequence.scene(i))) for i in range(0, truth["frames"], every)]
    assert counts(frames, truth["fps"] / every) == truth["counts"]
    assert crossings(frames, HEIGHT / 2) == truth["lines"]["middle"]
    check(frames)


def test_every_role_is_counted(truth: dict) -> None:
    for species in CLASSES:
        assert truth["counts"][species]["unique"] == sum(r.species == species for r in ROLES)


def test_a_film_is_exposed_as_a_camera_would(tmp_path: Path) -> None:
    sequence = replace(sample_sequence(3), frames=2)
    write_video(sequence, tmp_path / "film.mp4", 20)
    with av.open(str(tmp_path / "film.mp4")) as container:
        means = [
            frame.to_ndarray(format="bgr24").mean() / 255 for frame in container.decode(video=0)
        ]
    assert render_scene(sequence.scene(0)).bgr.mean() / 255 < 0.3
    assert means == pytest.approx([0.4, 0.4], abs=0.08)
    assert means[0] == pytest.approx(means[1], abs=0.01), "the exposure must not flicker"
