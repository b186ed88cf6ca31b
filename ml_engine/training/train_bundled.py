"""The training of the bundled detector.

A small COCO checkpoint is fine-tuned on rendered pastures, mixed with photographs.

python -m ml_engine.training.train_bundled --base COCO_CHECKPOINT --side COCO_PHOTOGRAPHS --out
ml_engine/checkpoints/pasture --state FILE
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import MusterError
from ml_engine.datasets.examples import PhotoSet
from ml_engine.datasets.photos import clips_in, names_in, read_photos
from ml_engine.synthetic.examples import render_example
from ml_engine.synthetic.random_scene import Recipe
from ml_engine.training.augment import View
from ml_engine.training.batches import TRAINING_SEEDS, Mix
from ml_engine.training.checkpoint import (
    input_size,
    mixed_weights,
    open_for_training,
    save,
    shift_class,
    write_muster_json,
    write_processor,
)
from ml_engine.training.loop import Plan, Run, fraction, train
from ml_engine.training.measure import Curve, curves, detect
from ml_engine.training.model_card import Facts, write_card
from ml_engine.training.sources import Photos, Rendered, Source

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VALIDATION_SEED = 500_000
"""First seed of the scenes that measure; training scenes have seeds from 1 000 000 on."""

SIDE_NAMES = {"cow": "cattle", "person": "person"}
NOT_LEARNED = frozenset({"bear", "elephant"})
"""Labels whose photographs are left out. A COCO model labels bison so. Training on them as
background would unlearn bison.
"""
LIVING = frozenset(
    (
        "person",
        "cow",
        "sheep",
        "horse",
        "dog",
        "cat",
        "bear",
        "elephant",
        "zebra",
        "giraffe",
        "bird",
        "teddy bear",
    )
)
"""Labels of living beings. A photograph with one of them cannot be a backdrop for animals."""
LIKE_CATTLE = LIVING - {"person", "cow", "bear", "elephant", "teddy bear"}

SIDE_VIEWS = Recipe(nadir=0.05, oblique=0.15, herds=(0.46, 0.34, 0.12, 0.08))
"""Scenes from the side, with many bison. The only photographs of real bison are from the side."""


@dataclass(frozen=True, slots=True)
class Data:
    """Photographs for the training, each a folder or None.

    Attributes:
        side: A part of COCO: `train/`, `train.coco.json`, and optionally the same for `val`.
        aerial: Photographs from above: `images/`, `annotations.coco.json` with the `clip` of each.
        clips: The clips of `aerial` used in training; None: all.
    """

    side: Path | None
    aerial: Path | None
    clips: frozenset[str] | None = None


def side_photos(folder: Path) -> tuple[Photos, tuple[Path, ...]]:
    """Return COCO's photographs as a source, and those of them that may be backdrops."""
    parts, kinds = [], []
    for name in ("train", "val"):
        described = folder / f"{name}.coco.json"
        if described.is_file():
            parts.append(read_photos(folder / name, described, SIDE_NAMES, NOT_LEARNED))
            kinds.append(names_in(folder / name, described))
    shown = {path: names for part in kinds for path, names in part.items()}
    photos = PhotoSet(
        *(
            sum((getattr(part, field) for part in parts), ())
            for field in ("paths", "xyxy", "classes")
        )
    )
    weights = np.array([_weight(shown[path]) for path in photos.paths])
    source = Photos(
        photos,
        View(window=(0.5, 1.0), mosaic=0.25, aim=0.5),
        weights / weights.sum(),
        damage=0.35,
        harsh=0.03,
    )
    return source, tuple(path for path, names in shown.items() if not names & LIVING)


def _weight(names: frozenset[str]) -> float:
    """Return how often a photograph is shown.

    Cows are few, so they are shown more often. So are other animals, which teach what cattle are
    not.
    """
    if "cow" in names:
        return 24.0
    return 2.0 if names & LIKE_CATTLE else 1.5 if "person" in names else 0.8


def aerial_photos(folder: Path, clips: frozenset[str] | None) -> Photos:
    """Return photographs from above as a source of crops at the scale of tiles."""
    photos = read_photos(
        folder / "images", folder / "annotations.coco.json", {"cattle": "cattle"}, only=clips
    )
    weights = np.array([3.0 if len(classes) else 1.0 for classes in photos.classes])
    view = View(above=True, window_px=(110, 460), mosaic=0.1, tint=True, aim=0.75)
    return Photos(photos, view, weights / weights.sum(), damage=0.4)


def make_mix(data: Data, size: int, seed: int, scenes: Path) -> Mix:
    """Return the composition of batches of eight. Rendered scenes replace missing photographs."""
    first = TRAINING_SEEDS * (seed + 1)
    photos: list[tuple[Source, int]] = []
    backdrops: tuple[Path, ...] = ()
    if data.side is not None:
        side, backdrops = side_photos(data.side)
        photos.append((side, 2))
    if data.aerial is not None:
        photos.append((aerial_photos(data.aerial, data.clips), 2))
    usual = Rendered(
        scenes / "usual",
        first,
        4800,
        576,
        backdrops,
        view=View(window=(0.55, 1.0), mosaic=0.2),
        damage=0.95,
        harsh=0.03,
    )
    view = View(window=(0.4, 1.0), mosaic=0.12, aim=0.3)
    beside = Rendered(
        scenes / "side",
        first + 500_000,
        2400,
        512,
        backdrops,
        SIDE_VIEWS,
        view=view,
        damage=0.95,
        harsh=0.03,
    )
    rest = 8 - sum(count for _, count in photos)
    return Mix(size, ((usual, rest - rest // 2), (beside, rest // 2), *photos))


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m ml_engine.training.train_bundled", description=__doc__.split("\n")[0]
    )
    _add_pictures(parser)
    _add_training(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the checkpoint"
    )
    parser.add_argument(
        "--validation",
        type=int,
        default=160,
        help="rendered scenes to measure on (default: %(default)s)",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="file for the state of the run, from which an interrupted run continues",
    )
    return parser.parse_args(argv)


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--side",
        type=Path,
        default=Path("../shared/data/coco-mini"),
        help="COCO photographs; the folder may be missing (default: %(default)s)",
    )
    parser.add_argument(
        "--aerial",
        type=Path,
        help="photographs from above; the bundled detector was better without the available ones",
    )
    parser.add_argument(
        "--without-clip", help="leave out this clip of the aerial photographs, to measure on it"
    )
    parser.add_argument(
        "--scenes",
        type=Path,
        default=Path("build/scenes"),
        help="folder in which rendered scenes are stored (default: %(default)s)",
    )
    parser.add_argument(
        "--scenes-seed",
        type=int,
        help="use the scenes of this seed, which an earlier training rendered (default: --seed)",
    )


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--base",
        default="../shared/models/deimv2-femto-coco",
        help="checkpoint to start from (default: %(default)s)",
    )
    for name, kind, default, what in (
        ("--steps", int, 7200, "steps of the training"),
        ("--seed", int, 7, "seed of all random choices"),
        ("--rate", float, 5e-4, "learning rate"),
        ("--size", int, 416, "side of the input, px"),
        ("--threads", int, 1, "CPU threads; another number gives slightly other weights"),
        ("--device", str, "cpu", "device of torch"),
        ("--keep", float, 0.235, "share of the weights of --base mixed in at the end"),
        ("--bison-shift", float, 0.55, "added to the logit of bison: balances bison and cattle"),
    ):
        parser.add_argument(name, type=kind, default=default, help=f"{what} (default: %(default)s)")


def data_of(options: argparse.Namespace) -> Data:
    """Return the photographs that exist."""
    side = options.side if (options.side / "train.coco.json").is_file() else None
    aerial = (
        options.aerial
        if options.aerial and (options.aerial / "annotations.coco.json").is_file()
        else None
    )
    clips = None
    if aerial is not None and options.without_clip:
        clips = frozenset(clips_in(aerial / "annotations.coco.json")) - {options.without_clip}
    return Data(side, aerial, clips)


def measure_rendered(model: PreTrainedModel, scenes: int, size: int) -> dict[str, Curve]:
    """Return figures on rendered scenes that were in no training."""
    truth = [render_example(VALIDATION_SEED + i, size, size) for i in range(scenes)]
    return curves(detect(model, [e.bgr for e in truth], size), truth)


def main(argv: list[str] | None = None) -> int:
    """Train, load the written checkpoint, measure it, and write thresholds and model card."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from ml_engine.progress import progress

    options = _options(argv)
    try:
        model, origin = open_for_training(str(options.base))
        plain, _ = open_for_training(str(options.base))
    except MusterError as error:
        print(f"Error: {error.message}")
        return 1
    data = data_of(options)
    mix = make_mix(
        data,
        options.size,
        options.seed if options.scenes_seed is None else options.scenes_seed,
        options.scenes,
    )
    plan = Plan(
        steps=options.steps,
        rate=options.rate,
        seed=options.seed,
        device=options.device,
        threads=options.threads,
        decay_from=0.3,
    )
    with progress("training", 1000, "thousandths") as update:

        def show(run: Run) -> None:
            update(int(1000 * fraction(run, plan)))

        average, run = train(model, mix, plan, state=options.state, every=100, progress=show)
    plain.load_state_dict(mixed_weights(average, plain.state_dict(), options.keep))
    shift_class(plain, "bison", options.bison_shift)
    write_processor(origin, options.out, options.size)
    written = save(plain, options.out / "preprocessor_config.json", options.out)
    figures = measure_rendered(written, options.validation, input_size(options.out))
    source = (
        f"rendered pastures and photographs, fine-tuned from {origin.name} (DEIMv2, Apache-2.0)"
    )
    write_muster_json(options.out, {k: v.threshold for k, v in figures.items()}, source)
    facts = Facts(
        origin.name,
        options.size,
        run.step,
        options.seed,
        bool(data.side),
        bool(data.aerial),
        options.validation,
    )
    write_card(options.out, facts, figures)
    for name, f in figures.items():
        print(
            f"{name:8} AP50 {f.ap50:.3f}  threshold {f.threshold:.3f}"
            f"  precision {f.precision:.3f}  recall {f.recall:.3f}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
