"""The label table: how a checkpoint's labels map to Muster's classes, and the scores that count."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.domain.analysis import CLASSES, SCORE_FLOOR
from core.errors import DetectorError
from ml_engine.arrays import SCORE_COLUMNS

TABLE_FILE = "muster.json"
"""Name of the label table in the folder of a checkpoint's weights.

Its content is `{"labels": {label: column}, "thresholds": {class: score}, "smallest_px": size}`.
`python -m ml_engine.cli.thresholds --write` measures the last two.
"""

KNOWN_LABELS: Mapping[str, str] = {
    **dict.fromkeys(("person", "people", "pedestrian", "human", "man", "woman"), "person"),
    **dict.fromkeys(("cow", "cows", "cattle", "bull", "ox", "calf", "steer", "heifer"), "cattle"),
    **dict.fromkeys(("bison", "american bison", "buffalo"), "bison"),
    **dict.fromkeys(
        ("animal", "livestock", "horse", "sheep", "goat", "deer", "elk", "moose", "pig"), "animal"
    ),
    **dict.fromkeys(("cat", "dog", "elephant", "bear", "zebra", "giraffe", "bird"), "animal"),
}
"""Columns of labels by their common names. Names are compared in lower case, with `_` and `-` as
blanks.

Detectors trained on photos from the ground label most cattle seen from straight above as `bird`.
With it, `only` finds them with an AP50 of 0.35 instead of 0.28 on drone photos (COCO-pretrained
DEIMv2 Femto, 3x3 tiles), and as many as before on photos from the side.
"""

DEFAULT_THRESHOLDS: Mapping[str, float] = {"bison": 0.3, "cattle": 0.3, "person": 0.4}
"""Lowest scores at which a detection counts, if the checkpoint's folder has no table of its own.

Measured with COCO-pretrained DEIMv2 Femto, after removal of duplicates. Two frames of a herd show
23 and 26 cows; this finds 23 and 23 (at most 26 in a frame). Six persons pass a fixed camera one
after the other; it finds exactly six unbroken visits. The best F1 on annotated photos is at 0.33 to
0.35 for persons and 0.37 to 0.46 for cattle (COCO's, and cows on pastures from the side), and flat
around it: 0.3 has at most 6 % less. The scores are not higher because tracking drops a false box
more easily than it adds a missed cow.
"""

SOFTMAX_THRESHOLDS: Mapping[str, float] = {"bison": 0.7, "cattle": 0.7, "person": 0.7}
"""The same for the family of the first DETR, whose scores are a softmax and much higher.

Not measured: its authors show results with it.
"""

DEFAULT_SMALLEST_PX = 27.0
"""Size at which an animal is found half as often as a large one, if the checkpoint's folder has
none.

The size is the square root of the box's area in px of the network's input. Measured with
COCO-pretrained DEIMv2 Femto: 24 and 27 on COCO's photos, 29 on cows from the side, 28 from drones.
"""

COCO_NAMES: tuple[str, ...] = (
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
)
"""The 80 labels of COCO, numbered without gaps. An export without names is assumed to have them."""


@dataclass(frozen=True, slots=True)
class LabelTable:
    """The mapping of a checkpoint's labels to score columns.

    Attributes:
        names: Label of each of the network's classes, in its order.
        labels: Label to score column; labels without a column are left out.
        thresholds: Lowest score at which a detection counts, for every class of Muster.
        smallest_px: Size at which an animal is found half as often as a large one: square root of
            the area, px of the input.
    """

    names: tuple[str, ...]
    labels: dict[str, str]
    thresholds: dict[str, float]
    smallest_px: float = DEFAULT_SMALLEST_PX

    def membership(self) -> npt.NDArray[np.bool_]:
        """Return (len(names), 4) bool: whether a label's score counts for a column.

        Bison and cattle also count as `animal`.
        """
        table = np.zeros((len(self.names), len(SCORE_COLUMNS)), np.bool_)
        for index, name in enumerate(self.names):
            column = self.labels.get(name)
            if column is not None:
                table[index, SCORE_COLUMNS.index(column)] = True
        table[:, SCORE_COLUMNS.index("animal")] |= (
            table[:, SCORE_COLUMNS.index("bison")] | table[:, SCORE_COLUMNS.index("cattle")]
        )
        return table


def label_table(
    names: Sequence[str], folder: Path | None, default: Mapping[str, float] = DEFAULT_THRESHOLDS
) -> LabelTable:
    """Build the label table of a checkpoint.

    Args:
        names: Label of each of the network's classes, in its order.
        folder: Folder of the weights, which may hold a `muster.json`; None without a folder.
        default: Thresholds of the checkpoint's family, used if none are stored.

    Returns:
        The table: from `muster.json` if it exists, else by the labels' common names.

    Raises:
        DetectorError: `muster.json` cannot be used (code `bad_label_table`), or no label has a
            column (`no_usable_label`).
    """
    path = None if folder is None else folder / TABLE_FILE
    if path is not None and path.is_file():
        return _read_table(path, names, default)
    labels = {name: KNOWN_LABELS[key] for name in names if (key := _plain(name)) in KNOWN_LABELS}
    if not labels:
        raise DetectorError(
            f"None of the checkpoint's labels ({_listed(names)}) is known as a bison, a cow, a"
            " person or another four-legged animal. Map the labels in a"
            f" {TABLE_FILE} beside the weights.",
            code="no_usable_label",
        )
    return LabelTable(tuple(names), labels, dict(default))


def _read_table(path: Path, names: Sequence[str], default: Mapping[str, float]) -> LabelTable:
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _bad_table(path, f"it is not readable JSON ({error})") from error
    if (
        not isinstance(data, dict)
        or not isinstance(data.get("labels"), dict)
        or not isinstance(data.get("thresholds", {}), dict)
    ):
        raise _bad_table(
            path, 'it must be an object with the objects "labels" and, optionally, "thresholds"'
        )
    labels, thresholds = data["labels"], data.get("thresholds", {})
    for label, column in labels.items():
        if column not in SCORE_COLUMNS:
            raise _bad_table(
                path,
                f"label '{label}' maps to '{column}', not to one of {', '.join(SCORE_COLUMNS)}",
            )
        if label not in names:
            raise _bad_table(path, f"the checkpoint has no label '{label}', only {_listed(names)}")
    for name, value in thresholds.items():
        if name not in CLASSES:
            raise _bad_table(
                path, f"it has a threshold of '{name}', which is not one of {', '.join(CLASSES)}"
            )
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not SCORE_FLOOR <= value < 1
        ):
            raise _bad_table(
                path, f"threshold of {name} is {value}; give a number from {SCORE_FLOOR} to below 1"
            )
    if not labels:
        raise DetectorError(
            f"{path.name} maps no label, so no animal would be counted.",
            code="no_usable_label",
        )
    smallest_px = data.get("smallest_px", DEFAULT_SMALLEST_PX)
    if (
        isinstance(smallest_px, bool)
        or not isinstance(smallest_px, int | float)
        or not 0 < smallest_px < 1000
    ):
        raise _bad_table(
            path, f"smallest_px is {smallest_px}; give a size in px of the network's input"
        )
    scores = {**default, **{k: float(v) for k, v in thresholds.items()}}
    return LabelTable(tuple(names), dict(labels), scores, float(smallest_px))


def _bad_table(path: Path, problem: str) -> DetectorError:
    return DetectorError(
        f"The label table {path.name} in '{path.parent.name}' cannot be used: {problem}.",
        code="bad_label_table",
    )


def column_of(name: str) -> str | None:
    """Return the score column of a label or category by its common name; None without a column."""
    return KNOWN_LABELS.get(_plain(name))


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
