"""The report of a training: an HTML page with figures, curves and the worst mistakes."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from core.domain.classes import CLASSES
from ml_engine.arrays import Image
from ml_engine.boxes import iou_matrix
from ml_engine.datasets.examples import Example
from ml_engine.training.loop import Run
from ml_engine.training.measure import Curve, Found
from ml_engine.training.request import Prepared, Result

WORST = 12
"""Number of pictures with the most mistakes that the page shows."""
RIGHT_BGR, FALSE_BGR, MISSED_BGR = (80, 200, 60), (50, 50, 230), (0, 210, 255)
_LONGEST_PX = 1100

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Training report</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}}
table{{border-collapse:collapse}}td,th{{border:1px solid #999;padding:.2rem .6rem;text-align:right}}
td:first-child,th:first-child{{text-align:left}}img{{max-width:100%}}figure{{margin:1.5rem 0}}
b.right{{color:#2a8a20}}b.false{{color:#c22}}b.missed{{color:#a80}}</style>
<h1>Training report</h1>
<p>{train} pictures of {train_sources} sources were used for training, {valid} pictures of
{valid_sources} other sources for measuring. The input has {size} x {size} px. Training took {steps}
steps in {minutes:.0f} min. The checkpoint has the weights of step {best}.</p>
<table><tr><th>class</th><th>boxes</th><th>AP50 before</th><th>AP50 now</th><th>threshold</th>
<th>precision</th><th>recall</th></tr>
{rows}</table>
<p>AP50 is the average precision at an overlap (IoU) of 0.5. Precision and recall are at the
threshold. It was chosen on the same pictures, so both are a little too good.</p>
<h2>Curves</h2><figure><img src="curves.png" alt="loss and AP50 over the steps"></figure>
<h2>The worst mistakes</h2>
<p><b class="right">Green</b>: found. <b class="false">Red</b>: false, or with the wrong name.
<b class="missed">Yellow</b>: missed.</p>
{mistakes}</html>
"""


@dataclass(frozen=True, slots=True)
class Mistakes:
    """One picture's detections at the thresholds, compared with the truth.

    Attributes:
        right: Indices of right detections.
        false: Indices of false detections.
        missed: Indices of missed true boxes.
    """

    right: list[int]
    false: list[int]
    missed: list[int]

    @property
    def count(self) -> int:
        """Number of mistakes."""
        return len(self.false) + len(self.missed)


def mistakes_in(found: Found, truth: Example, thresholds: dict[str, float]) -> Mistakes:
    """Match detections that reach the threshold of their class with the truth, best first.

    A match needs an overlap (IoU) of 0.5 and the same class.
    """
    limits = np.array([thresholds[name] for name in CLASSES])
    kept = (
        np.flatnonzero(found.scores >= limits[found.classes])
        if len(found.scores)
        else np.zeros(0, int)
    )
    kept = kept[np.argsort(-found.scores[kept], kind="stable")]
    overlap = iou_matrix(found.xyxy[kept], truth.xyxy)
    taken = np.zeros(len(truth.classes), bool)
    right, false = [], []
    for position, row in enumerate(kept.tolist()):
        free = (
            np.where(taken | (truth.classes != found.classes[row]), -1.0, overlap[position])
            if len(taken)
            else np.zeros(0)
        )
        if len(free) and free.max() >= 0.5:
            taken[int(free.argmax())] = True
            right.append(row)
        else:
            false.append(row)
    return Mistakes(right, false, np.flatnonzero(~taken).tolist())


def write_report(
    out: Path, ready: Prepared, result: Result, found: Sequence[Found], truth: Sequence[Example]
) -> None:
    """Write `report.html`, `curves.png` and `mistakes/*.jpg` into a folder."""
    cv2.imwrite(str(out / "curves.png"), draw_curves(result.run))
    judged = [mistakes_in(f, t, result.thresholds) for f, t in zip(found, truth, strict=True)]
    worst = [
        row
        for row in sorted(range(len(judged)), key=lambda row: (-judged[row].count, row))
        if judged[row].count
    ][:WORST]
    folder = out / "mistakes"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.jpg"):
        old.unlink()
    parts = []
    for place, row in enumerate(worst, 1):
        name, one = f"{place:02d}.jpg", judged[row]
        cv2.imwrite(
            str(folder / name),
            draw_mistakes(truth[row], found[row], one),
            [cv2.IMWRITE_JPEG_QUALITY, 88],
        )
        caption = html.escape(
            f"{ready.valid.paths[row].name}: {len(one.right)} right, {len(one.false)} false, "
            f"{len(one.missed)} missed"
        )
        parts.append(
            f'<figure><img src="mistakes/{name}" alt="{caption}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    page = PAGE.format(
        train=len(ready.train),
        train_sources=ready.sources[0],
        valid=len(ready.valid),
        valid_sources=ready.sources[1],
        size=ready.size,
        steps=result.run.step,
        minutes=result.run.elapsed_s / 60,
        best=result.best_step,
        rows="\n".join(
            _row(name, result.before[name], figure, result.thresholds[name], judged, found, truth)
            for name, figure in result.after.items()
        ),
        mistakes="\n".join(parts) or "<p>None.</p>",
    )
    (out / "report.html").write_text(page, encoding="utf-8")


def _row(
    name: str,
    before: Curve,
    after: Curve,
    threshold: float,
    judged: Sequence[Mistakes],
    found: Sequence[Found],
    truth: Sequence[Example],
) -> str:
    if not after.boxes:
        return (
            f"<tr><td>{name}</td><td>0</td><td>–</td><td>–</td><td>{threshold:.3f}</td>"
            "<td>–</td><td>–</td></tr>"
        )
    index = list[str](CLASSES).index(name)
    right = sum(
        int((f.classes[one.right] == index).sum()) for one, f in zip(judged, found, strict=True)
    )
    false = sum(
        int((f.classes[one.false] == index).sum()) for one, f in zip(judged, found, strict=True)
    )
    precision = f"{right / (right + false):.2f}" if right + false else "–"
    return (
        f"<tr><td>{name}</td><td>{after.boxes}</td><td>{before.ap50:.3f}</td>"
        f"<td>{after.ap50:.3f}</td><td>{threshold:.3f}</td>"
        f"<td>{precision}</td><td>{right / after.boxes:.2f}</td></tr>"
    )


def draw_mistakes(
    truth: Example, found: Found, one: Mistakes, longest_px: int = _LONGEST_PX
) -> Image:
    """Draw detections and missed boxes into a picture whose sides are at most `longest_px`."""
    height, width = truth.bgr.shape[:2]
    scale = min(longest_px / max(height, width), 3.0)
    canvas = cv2.resize(
        truth.bgr,
        (round(width * scale), round(height * scale)),
        interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
    )
    for rows, boxes, colour, named in (
        (one.missed, truth.xyxy, MISSED_BGR, False),
        (one.right, found.xyxy, RIGHT_BGR, False),
        (one.false, found.xyxy, FALSE_BGR, True),
    ):
        for row in rows:
            x1, y1, x2, y2 = (round(float(v) * scale) for v in boxes[row])
            cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 2)
            if named:
                text = f"{CLASSES[int(found.classes[row])]} {found.scores[row]:.2f}"
                cv2.putText(
                    canvas,
                    text,
                    (x1, max(y1 - 4, 12)),
                    cv2.FONT_HERSHEY_SIMPLEX,
                    0.45,
                    colour,
                    1,
                    cv2.LINE_AA,
                )
    return np.asarray(canvas, np.uint8)


def draw_curves(run: Run) -> Image:
    """Draw the loss and the AP50 of measurements over the steps: (360, 900, 3) uint8."""
    canvas = np.full((360, 900, 3), 255, np.uint8)
    loss = [(10.0 * (row + 1), value) for row, value in enumerate(run.losses)]
    figures = [(m["step"], m["ap50"]) for m in run.measured]
    _panel(canvas, 20, "loss", _smooth(loss), (160, 90, 20), run.step)
    _panel(canvas, 470, "AP50 on pictures not used in training", figures, (40, 140, 40), run.step)
    return canvas


def _smooth(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    out, level = [], points[0][1] if points else 0.0
    for step, value in points:
        level = 0.8 * level + 0.2 * value
        out.append((step, level))
    return out


def _panel(
    canvas: Image,
    left: int,
    title: str,
    points: list[tuple[float, float]],
    colour: tuple[int, int, int],
    steps: int,
) -> None:
    top, bottom, right = 50, 310, left + 400
    cv2.rectangle(canvas, (left, top), (right, bottom), (180, 180, 180), 1)
    cv2.putText(
        canvas, title, (left, 36), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (30, 30, 30), 1, cv2.LINE_AA
    )
    cv2.putText(
        canvas,
        f"step {steps}",
        (right - 80, bottom + 24),
        cv2.FONT_HERSHEY_SIMPLEX,
        0.45,
        (30, 30, 30),
        1,
        cv2.LINE_AA,
    )
    if not points:
        return
    values = [value for _, value in points]
    low, high = min(values), max(max(values), min(values) + 1e-6)
    for value, y in ((high, top + 14), (low, bottom - 4)):
        cv2.putText(
            canvas,
            f"{value:.3f}",
            (left + 4, y),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.4,
            (90, 90, 90),
            1,
            cv2.LINE_AA,
        )
    line = [
        (
            round(left + (right - left) * step / max(steps, 1)),
            round(bottom - 8 - (bottom - top - 16) * (value - low) / (high - low)),
        )
        for step, value in points
    ]
    for a, b in zip(line, line[1:], strict=False):
        cv2.line(canvas, a, b, colour, 2, cv2.LINE_AA)
    for point in line if len(line) < 40 else ():
        cv2.circle(canvas, point, 3, colour, -1, cv2.LINE_AA)
