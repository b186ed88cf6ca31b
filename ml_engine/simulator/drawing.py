"""Drawings of simulated scenes, with which a person checks that they are sensible."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ml_engine.simulator.ranges import Ranges
from ml_engine.simulator.scene import Scene, scenes

_WIDTH = 640
_MOMENTS = (0.0, 0.33, 0.66, 1.0)


def drawing(made: Scene) -> np.ndarray:
    """Return a picture (h, w, 3) uint8 BGR of four moments of a scene.

    Visible animals are green, detections white (grey if weak), false detections red.
    """
    import cv2

    scale = _WIDTH / made.video.width_px
    height = round(made.video.height_px * scale)
    panels = []
    for moment in _MOMENTS:
        frame = round(moment * (made.video.frames - 1))
        panel = np.full((height, _WIDTH, 3), 40, np.uint8)
        for row in np.flatnonzero(made.truth.frame == frame).tolist():
            _box(panel, made.truth.xyxy[row] * scale, (60, 160, 60), -1)
            place = tuple(int(v) for v in made.truth.xyxy[row, :2] * scale + (1, 9))
            cv2.putText(
                panel, str(made.truth.animal[row]), place, cv2.FONT_HERSHEY_PLAIN, 0.6, (0, 0, 0)
            )
        for row in range(int(made.log.offsets[frame]), int(made.log.offsets[frame + 1])):
            strong = made.log.scores[row].max() >= 0.5
            colour = (255, 255, 255) if strong else (130, 130, 130)
            _box(
                panel,
                made.log.xyxy[row] * scale,
                (60, 60, 255) if made.truth.shown[row] < 0 else colour,
                1,
            )
        panels.append(panel)
    name = made.muster_class
    title = (
        f"{made.index} {made.camera} {made.behaviour} {made.settings.population}: "
        f"{made.truth.unique[name]} {name}, peak {made.truth.peak[name]}, "
        f"{made.video.fps:.1f} fps, {made.video.duration_s:.1f} s"
    )
    head = np.zeros((18, len(panels) * _WIDTH, 3), np.uint8)
    cv2.putText(head, title, (4, 13), cv2.FONT_HERSHEY_PLAIN, 1.0, (255, 255, 255))
    return np.concatenate([head, np.concatenate(panels, axis=1)])


def _box(panel: np.ndarray, xyxy: np.ndarray, colour: tuple[int, int, int], thickness: int) -> None:
    import cv2

    x1, y1, x2, y2 = (int(v) for v in xyxy)
    cv2.rectangle(panel, (x1, y1), (x2, y2), colour, thickness)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw scenes into one PNG.

    Args:
        argv: Arguments without the program's name. Default: those of the process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m ml_engine.simulator.drawing", description="Draw simulated scenes."
    )
    parser.add_argument("--scenes", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--unseen", action="store_true", help="sample parameters from the ranges reserved for tests"
    )
    parser.add_argument("--draw", type=Path, required=True, metavar="OUT.png")
    given = parser.parse_args(argv)
    import cv2

    ranges = Ranges.unseen() if given.unseen else Ranges.tuned()
    picture = np.concatenate([drawing(made) for made in scenes(given.scenes, given.seed, ranges)])
    cv2.imwrite(str(given.draw), picture)


if __name__ == "__main__":
    main()
