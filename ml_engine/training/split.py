"""The split of pictures into those for training and those for measuring. Copies of one picture and
frames of one flight are never in both parts.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput
from ml_engine.datasets.labelled import Labelled

SHARE = 0.2
"""Least share of the pictures for measuring."""
ALIKE = 0.985
"""Correlation of two small grey pictures from which they are taken for copies."""
_COPY = re.compile(
    r"(_jpe?g|_png)?\.rf\.[0-9a-f]{16,}$"
    r"|[-_ .](aug|rot|rotated|flip|flipped|mirror|crop|copy|bright|dark|blur|noise)[-_]?\d*$",
    re.I,
)
_FRAME = re.compile(r"[-_ .]?(frame|f|t)?[-_ .]?(?<!\d)\d+$", re.I)
_LONGEST_NAME = 255
"""Largest length of a file name that every system supports, characters."""


def name_of_source(name: str, frames: bool) -> str:
    """Return the name of a file's source: its name without the marks that tools give to copies.

    With `frames`, the number at its end is removed too.
    """
    stem = Path(name).stem[:_LONGEST_NAME]
    while (shorter := _COPY.sub("", stem)) != stem and shorter:
        stem = shorter
    return (_FRAME.sub("", stem) or stem) if frames else stem


def sources_of(data: Labelled) -> list[str]:
    """Return the source of every picture.

    Sources are taken from the annotations (`source_image`, `clip`, …) or else from the names.
    Pictures whose names differ only in a number at the end are frames of one clip. If nearly all
    pictures would then be of one clip, only the marks of copies are removed from names. Pictures
    that look alike, also when mirrored or rotated by quarter turns, are of one source whatever
    their names.
    """
    told = [source for source in data.sources if source]
    if len(told) == len(data):
        names = [str(source) for source in data.sources]
    else:
        clips = [name_of_source(path.name, True) for path in data.paths]
        most = Counter(clips).most_common(1)[0][1]
        few = len(set(clips)) < 4 or most > 0.6 * len(clips)
        names = [
            source or name_of_source(path.name, not few)
            for source, path in zip(data.sources, data.paths, strict=True)
        ]
    return _joined(names, _copies(data.paths))


def split(data: Labelled, sources: Sequence[str], seed: int) -> tuple[list[int], list[int]]:
    """Return the rows for training and the rows for measuring.

    Where there are folders named `train` and `valid`, they decide. A source that is in both is used
    for training. Otherwise sources are taken in the order of a hash of seed and name until a fifth
    of the pictures are for measuring.

    Raises:
        InvalidInput: There is only one source (code `one_source`).
    """
    if "valid" in data.split and "train" in data.split:
        train_sources = {
            source for source, part in zip(sources, data.split, strict=True) if part != "valid"
        }
        chosen = {source for source in sources if source not in train_sources}
    else:
        sizes = Counter(sources)
        chosen, measured = set(), 0
        for source in sorted(
            sizes, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()
        ):
            if measured >= SHARE * len(data) or len(chosen) == len(sizes) - 1:
                break
            if measured + sizes[source] <= 0.5 * len(data) or len(sizes) == 2:
                chosen.add(source)
                measured += sizes[source]
    if not chosen or not any(
        len(data.classes[row]) for row, source in enumerate(sources) if source in chosen
    ):
        raise InvalidInput(
            "All annotated pictures seem to come from one place or clip, so none would be left for "
            "measuring. Add pictures of another place, or put some into folders named train and "
            "valid.",
            code="one_source",
        )
    rows = range(len(data))
    return [row for row in rows if sources[row] not in chosen], [
        row for row in rows if sources[row] in chosen
    ]


def _copies(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """Return pairs of pictures that look alike, also when mirrored or rotated by quarter turns."""
    views: list[npt.NDArray[np.float32]] = []
    for path in paths:
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if grey is None:
            raise InvalidInput(f"{path} cannot be read as a picture.", code="unreadable_picture")
        small = cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)
        small -= small.mean()
        small /= max(float(np.linalg.norm(small)), 1e-6)
        views.append(small)
    plain = np.array([view.ravel() for view in views])
    pairs = set()
    for flipped in (False, True):
        for turns in range(4):
            other = np.array(
                [np.rot90(view[:, ::-1] if flipped else view, turns).ravel() for view in views]
            )
            for a, b in np.argwhere(plain @ other.T >= ALIKE).tolist():
                if a < b:
                    pairs.add((a, b))
    return sorted(pairs)


def _joined(names: list[str], pairs: Sequence[tuple[int, int]]) -> list[str]:
    """Give one name to all sources that are connected by pairs."""
    parent: dict[str, str] = {name: name for name in names}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for a, b in pairs:
        first, second = sorted((root(names[a]), root(names[b])))
        parent[second] = first

    return [root(name) for name in names]
