"""Training: the cheap step equals the plain one, a seed decides everything, and what was cut off
goes on as if it had not been.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest

from core.errors import InvalidInput
from ml_engine.datasets.examples import Example
from ml_engine.detection.loading import bundled_checkpoint
from ml_engine.synthetic.examples import boxes_of
from ml_engine.synthetic.random_scene import random_scene
from ml_engine.synthetic.rendering import render_scene
from ml_engine.training.augment import View, crop_to, tint, view_example
from ml_engine.training.batches import Mix, make_batch
from ml_engine.training.checkpoint import mixed_weights
from ml_engine.training.loop import Plan, Run, fraction, rate_factor, train
from ml_engine.training.sources import Rendered, render_ahead, with_margin

REPOSITORY = Path(__file__).parents[3]
SIZE = 192


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Mix:
    scenes = Rendered(
        tmp_path_factory.mktemp("scenes"),
        900_000,
        6,
        SIZE,
        view=View(window=(0.7, 1.0), mosaic=0.3),
    )
    for seed in range(900_000, 900_006):
        scenes.render(seed)
    return Mix(SIZE, ((scenes, 2),))


@pytest.fixture(scope="module")
def start():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import AutoModelForObjectDetection

        return AutoModelForObjectDetection.from_pretrained(bundled_checkpoint())


# Which queries are refined hangs on rounding: in sixteen bits some are others, and their gradients
# with them.
@pytest.mark.parametrize(
    ("halves", "most_loss", "most_apart"), [(False, 1e-4, 0.02), (True, 0.01, 0.8)]
)
def test_the_cheap_step_learns_what_the_plain_one_learns(
    start, mix: Mix, halves: bool, most_loss: float, most_apart: float
) -> None:
    import torch

    from ml_engine.training.cpu_speedups import make_lean
    from ml_engine.training.loop import make_norms_still

    batch = make_batch(mix, 1, 0)
    pixels = torch.from_numpy(batch.pixels).float() / 255
    labels = [
        {"class_labels": torch.from_numpy(c), "boxes": torch.from_numpy(b)}
        for c, b in batch.targets
    ]
    plain, lean = copy.deepcopy(start).train(), copy.deepcopy(start).train()
    make_norms_still(plain)
    plain.config.num_denoising = plain.model.config.num_denoising = 0
    make_lean(lean, halves=halves)
    losses = [model(pixel_values=pixels, labels=labels).loss for model in (plain, lean)]
    assert float(losses[1].detach()) == pytest.approx(float(losses[0].detach()), rel=most_loss)
    for loss in losses:
        loss.backward()
    gradients = [dict(model.named_parameters()) for model in (plain, lean)]
    learning = [name for name, p in gradients[1].items() if p.grad is not None]
    assert any("conv_encoder" in name for name in learning) and not any(
        "embedder" in name for name in learning
    )
    wanted, got = (
        torch.cat([named[name].grad.flatten() for name in learning]) for named in gradients
    )
    assert float((wanted - got).norm()) <= most_apart * float(wanted.norm())


def test_a_seed_decides_the_batch(mix: Mix) -> None:
    one, same, other = make_batch(mix, 5, 3), make_batch(mix, 5, 3), make_batch(mix, 6, 3)
    assert np.array_equal(one.pixels, same.pixels) and not np.array_equal(one.pixels, other.pixels)
    assert one.pixels.shape == (2, 3, SIZE, SIZE) and one.pixels.dtype == np.uint8


BEGIN = """
import sys, time
from pathlib import Path
from ml_engine.training.batches import Mix, batches
from ml_engine.training.sources import Rendered

if __name__ == "__main__":
    for _ in batches(Mix(192, ((Rendered(Path(sys.argv[1]), 900_000, 6, 192), 2),)), 1, 0, 50):
        print("begun", flush=True)
        time.sleep(600)
"""


def test_a_training_that_is_killed_leaves_no_process(mix: Mix, tmp_path: Path) -> None:
    script = tmp_path / "begin.py"
    script.write_text(BEGIN, encoding="utf-8")
    rendered = mix.sources[0][0]
    assert isinstance(rendered, Rendered)
    argv = [sys.executable, str(script), str(rendered.folder)]
    with subprocess.Popen(
        argv, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.PIPE, text=True
    ) as training:
        assert training.stdout is not None and training.stdout.readline() == "begun\n"
        children = psutil.Process(training.pid).children(recursive=True)
        assert children
        training.kill()
    assert psutil.wait_procs(children, timeout=60)[1] == []


def test_a_run_that_was_cut_off_gives_the_same_weights(start, mix: Mix, tmp_path: Path) -> None:
    plan = Plan(steps=4, seed=3, threads=1, halves=False)
    whole, run = train(copy.deepcopy(start), mix, plan)
    assert run.step == 4

    class CutOffError(Exception):
        pass

    def cut(run: Run, average: object) -> bool:
        return False

    def stop(run: Run) -> None:
        if run.step == 3:
            raise CutOffError

    state = tmp_path / "state.pt"
    with pytest.raises(CutOffError):
        train(copy.deepcopy(start), mix, plan, state=state, every=2, check=cut, progress=stop)
    resumed, run = train(copy.deepcopy(start), mix, plan, state=state, every=2)
    assert run.step == 4
    for name, value in whole.items():
        assert value.equal(resumed[name]), name
    again, run = train(copy.deepcopy(start), mix, plan, state=state, every=2)
    assert run.step == 4 and all(value.equal(again[name]) for name, value in resumed.items())


def test_the_state_of_another_training_is_refused(start, mix: Mix, tmp_path: Path) -> None:
    import torch

    state = tmp_path / "state.pt"
    torch.save(
        {"model": {"other": torch.zeros(1)}, "average": {}, "optimizer": {}, "run": {}}, state
    )
    with pytest.raises(InvalidInput) as refused:
        train(copy.deepcopy(start), mix, Plan(steps=1, threads=1), state=state)
    assert refused.value.code == "other_training"


def test_the_rate_rises_stays_and_falls() -> None:
    plan = Plan(steps=1000, decay_from=0.5)
    assert rate_factor(0, 0.0, plan) == pytest.approx(1 / 40)
    assert rate_factor(100, 0.1, plan) == rate_factor(500, 0.5, plan) == 1
    assert rate_factor(999, 1.0, plan) == pytest.approx(0.02)
    assert fraction(Run(step=100, elapsed_s=60), Plan(steps=1000, minutes=2)) == pytest.approx(0.5)


def test_windows_take_their_boxes_along() -> None:
    example = Example(
        np.zeros((100, 200, 3), np.uint8),
        np.array([[50, 20, 70, 40], [140, 20, 170, 40]], np.float32),
        np.array([0, 2]),
    )
    cut = crop_to(example, (50, 0, 150, 100), (200, 100))
    assert cut.bgr.shape == (100, 200, 3)
    assert (cut.xyxy.tolist(), cut.classes.tolist()) == ([[0, 20, 40, 40]], [0])


@pytest.mark.parametrize(
    ("keep", "weight"), [(0.0, [2.0, 6.0]), (0.25, [1.75, 5.0]), (1.0, [1.0, 2.0])]
)
def test_a_share_of_the_weights_begun_with_is_kept(keep: float, weight: list[float]) -> None:
    import torch

    trained = {"w": torch.tensor([2.0, 6.0]), "seen": torch.tensor(7)}
    begun = {"w": torch.tensor([1.0, 2.0]), "seen": torch.tensor(0)}
    mixed = mixed_weights(trained, begun, keep)
    assert mixed["w"].tolist() == weight
    assert int(mixed["seen"]) == 7
    assert trained["w"].tolist() == [2.0, 6.0]


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        (
            (90, 0, 590, 100),
            [0, 0, 400, 400],
        ),  # a fifth of a near animal fills the right of the picture
        ((90, 0, 1190, 100), []),  # of this one an eleventh is seen: it may be anything
        ((90, 50, 240, 150), []),  # two thirds by a half: the corner of a box may show country
        ((90, 0, 115, 8), [360, 0, 400, 32]),  # two fifths of a far one
        ((90, 0, 120, 8), []),  # a third of a far one: too little, and too small, to be told
        ((-200, 20, 95, 90), [0, 80, 380, 360]),  # a third, from the left
    ],
)
def test_what_a_window_leaves_of_an_animal_counts_where_it_can_be_told(
    box: tuple[float, ...], kept: list[float]
) -> None:
    example = Example(
        np.zeros((100, 1000, 3), np.uint8), np.array([box], np.float32), np.array([1])
    )
    window = (90, 0, 190, 100) if box[2] > 200 else (0, 0, 100, 100)
    cut = crop_to(example, window, (400, 400))
    assert cut.xyxy.tolist() == ([kept] if kept else [])


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_boxes_stay_on_what_they_are_around(mosaic: float) -> None:
    bgr = np.zeros((120, 160, 3), np.uint8)
    bgr[40:80, 60:100] = 255
    example = Example(bgr, np.array([[60, 40, 100, 80]], np.float32), np.array([1]))
    for seed in range(12):
        seen = view_example(
            lambda rng: example,
            View(above=True, window=(0.8, 1.0), mosaic=mosaic, aim=1.0),
            256,
            np.random.default_rng(seed),
        )
        assert seen.bgr.shape == (256, 256, 3)
        for x0, y0, x1, y1 in seen.xyxy.round().astype(int):
            assert seen.bgr[y0 + 3 : y1 - 3, x0 + 3 : x1 - 3].min() > 128


def test_grey_pictures_are_tinted_within_bounds() -> None:
    grey = np.repeat(
        np.random.default_rng(0).integers(0, 255, (64, 64, 1), dtype=np.uint8), 3, axis=2
    )
    example = Example(grey, np.array([[10, 10, 30, 30]], np.float32), np.array([1]))
    coloured = [tint(example, np.random.default_rng(seed)).bgr for seed in range(12)]
    assert all(picture.shape == grey.shape and picture.dtype == np.uint8 for picture in coloured)
    assert sum(bool((picture.max(axis=2) > picture.min(axis=2)).any()) for picture in coloured) >= 6


def test_scenes_rendered_ahead_are_kept(tmp_path: Path) -> None:
    scenes = Rendered(tmp_path, 910_000, 2, 96)
    told: list[int] = []
    render_ahead(scenes, 1, told.append)
    assert told == [1, 2]
    before = scenes.path(910_000).stat().st_mtime_ns
    first = scenes.scene(910_000)
    assert first.bgr.shape == (96, 96, 3) and len(first.xyxy) == len(first.classes)
    render_ahead(scenes, 1, told.append)
    assert scenes.path(910_000).stat().st_mtime_ns == before and told == [1, 2]


def test_rendered_boxes_are_as_wide_as_people_draw_them(tmp_path: Path) -> None:
    scenes = Rendered(tmp_path, 900_003, 1, SIZE)
    exact, _ = boxes_of(render_scene(random_scene(900_003, SIZE, SIZE)))
    assert len(exact)
    learnt = scenes.scene(900_003).xyxy
    inner = (exact > 1) & (exact < SIZE - 1)
    assert np.array_equal(
        (learnt - exact)[inner],
        np.broadcast_to(np.array([-1, -1, 1, 1], np.float32), exact.shape)[inner],
    )


@pytest.mark.parametrize(
    ("box", "wider"),
    [
        ((10, 20, 30, 25), (9, 19, 31, 26)),
        ((0, 0.5, 5, 5), (0, 0, 6, 6)),
        ((90, 90, 96, 95.5), (89, 89, 96, 96)),
        ((0, 0, 96, 96), (0, 0, 96, 96)),
    ],
)
def test_a_margin_stays_within_the_picture(
    box: tuple[float, ...], wider: tuple[float, ...]
) -> None:
    assert with_margin(np.array([box], np.float32), 96).tolist() == [list(wider)]


def test_a_margin_around_nothing() -> None:
    assert with_margin(np.zeros((0, 4), np.float32), 96).shape == (0, 4)
