"""Preprocessing: from a decoded frame to the network's input, in one pass per colour.

It resizes, reorders, rescales, normalises and pads. The result is the tensor that the checkpoint's
own image processor of transformers gives, several times faster.

That processor resizes with Pillow. Pillow's bilinear filter widens when it shrinks an image (so
there is no aliasing) and normalises its weights at the border. libswscale's bilinear filter widens
in the same way, but repeats border pixels. The outermost row or column of a shrunk side is
therefore taken from Pillow. Tolerance, in grey levels (1/255 before mean and standard deviation): 1
where an image is shrunk, 3 where it is enlarged (reached on noise), a third of a level on average.

Filters other than bilinear are Pillow's throughout, hence exact. The processor of RF-DETR resizes
without widening and does not round. OpenCV's bilinear filter matches it to within a level.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from core.errors import DetectorError

CONFIG_FILE = "preprocessor_config.json"
_BILINEAR = 2
_KNOWN_FILTERS = (0, 1, 2, 3, 4, 5)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_ASPECT_PROCESSORS = (
    "Detr",
    "ConditionalDetr",
    "DeformableDetr",
    "RfDetr",
    "Yolos",
    "Deta",
    "GroundingDino",
)
_YOLOS_PATCH = 16
"""Patch size in px to which the processor of YOLOS cuts both edges, for all patch sizes of
checkpoints.
"""

SizeRule = Literal["exact", "edges", "bounds"]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The steps of an image processor, as specified by `preprocessor_config.json`.

    Attributes:
        rule: `exact`: stretch to `size` = (height, width). `edges`: keep the aspect ratio, shortest
            edge `size[0]` unless the longest would exceed `size[1]` (0: no limit). `bounds`: keep
            the aspect ratio, as large as fits into (height, width) = `size`. None: keep the size.
        size: Two numbers, px.
        resample: Pillow's number of the filter; 2 is bilinear.
        scale: Factor on the grey levels 0..255, such as 1/255.
        mean, std: Per colour in the order RGB, after scaling.
        pad_hw: Height and width to pad to, at the right and at the bottom, with zeros; None: no
            padding.
        multiple: With `edges`, both edges are cut to a multiple of this many px.
        widens: Whether the bilinear filter widens when it shrinks an image.
    """

    rule: SizeRule | None
    size: tuple[int, int]
    resample: int = _BILINEAR
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    pad_hw: tuple[int, int] | None = None
    multiple: int = 1
    widens: bool = True

    def resized_hw(self, shape_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the height and width that a frame of this size is resized to."""
        height, width = shape_hw
        if self.rule == "exact":
            return self.size
        if self.rule == "edges":
            return _edges_hw(height, width, *self.size, self.multiple)
        if self.rule == "bounds":
            factor = min(self.size[0] / height, self.size[1] / width)
            return int(height * factor), int(width * factor)
        return height, width

    def input_hw(self, shape_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the height and width of the network's input for a frame of this size."""
        return self.pad_hw or self.resized_hw(shape_hw)

    @property
    def nominal_hw(self) -> tuple[int, int]:
        """The input's height and width; the two configured numbers if it depends on the frame."""
        return self.pad_hw or self.size


def plain_preprocessing(input_hw: tuple[int, int]) -> Preprocessing:
    """Return the preprocessing of exports with the RT-DETR signature: stretched, RGB, 0..1."""
    return Preprocessing("exact", input_hw)


def read_preprocessing(folder: Path) -> Preprocessing:
    """Read a checkpoint's `preprocessor_config.json`.

    Raises:
        DetectorError: The file does not exist, or requires an unsupported step (code
            `bad_preprocessing`).
    """
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _unsupported(folder, f"there is no {CONFIG_FILE}") from error
    except (OSError, ValueError) as error:
        raise _unsupported(folder, f"{CONFIG_FILE} is not readable JSON ({error})") from error
    if not isinstance(config, dict):
        raise _unsupported(folder, f"{CONFIG_FILE} is not an object")
    try:
        return parse_preprocessing(config)
    except (ValueError, TypeError, KeyError) as error:
        raise _unsupported(folder, str(error)) from error


def parse_preprocessing(config: Mapping[str, Any]) -> Preprocessing:
    """Parse an image processor's configuration. Missing values get that processor's defaults.

    Raises:
        ValueError: It requires an unsupported step.
    """
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")
    aspect = kind.startswith(_ASPECT_PROCESSORS)
    if config.get("do_center_crop"):
        raise ValueError("do_center_crop is not supported: cropped animals would not be counted")
    resample = int(config.get("resample", _BILINEAR))
    if resample not in _KNOWN_FILTERS:
        raise ValueError(f"resample {resample} is not one of Pillow's filters")
    normalize = bool(config.get("do_normalize", aspect))
    rule, size = _size_rule(config, aspect) if config.get("do_resize", True) else (None, (0, 0))
    pad = config.get("pad_size") if config.get("do_pad", aspect) else None
    return Preprocessing(
        rule,
        size,
        resample=resample,
        scale=float(config.get("rescale_factor", 1 / 255))
        if config.get("do_rescale", True)
        else 1.0,
        mean=_three(config.get("image_mean", _IMAGENET_MEAN)) if normalize else (0.0, 0.0, 0.0),
        std=_three(config.get("image_std", _IMAGENET_STD)) if normalize else (1.0, 1.0, 1.0),
        pad_hw=(int(pad["height"]), int(pad["width"])) if pad else None,
        multiple=_YOLOS_PATCH if kind.startswith("Yolos") else 1,
        widens=not kind.startswith("RfDetr"),
    )


def _size_rule(config: Mapping[str, Any], aspect: bool) -> tuple[SizeRule, tuple[int, int]]:
    size = config.get("size") or (
        {"shortest_edge": 800, "longest_edge": 1333} if aspect else {"height": 640, "width": 640}
    )
    if isinstance(size, int):
        size = (
            {"shortest_edge": size, "longest_edge": config.get("max_size", 1333)}
            if aspect
            else {"height": size, "width": size}
        )
    if size.get("height") and size.get("width"):
        return "exact", (int(size["height"]), int(size["width"]))
    if size.get("shortest_edge"):
        return "edges", (
            int(size["shortest_edge"]),
            int(size.get("longest_edge") or config.get("max_size") or 0),
        )
    if size.get("max_height") and size.get("max_width"):
        return "bounds", (int(size["max_height"]), int(size["max_width"]))
    raise ValueError(
        f"size {size} has neither height and width nor shortest_edge nor max_height and max_width"
    )


def _three(values: float | Sequence[float]) -> tuple[float, float, float]:
    if isinstance(values, int | float):
        return (float(values),) * 3
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _edges_hw(
    height: int, width: int, shortest: int, longest: int, multiple: int
) -> tuple[int, int]:
    """Apply the rule of transformers' `get_size_with_aspect_ratio`, with its rounding.

    With a multiple, apply YOLOS's variant of that rule.
    """
    short, long = min(height, width), max(height, width)
    raw: float = shortest
    if longest and long / short * shortest > longest:
        raw = longest * short / long
    target = round(raw)
    exact = raw if raw != shortest else target
    if short == target and (multiple == 1 or width >= height):
        resized = height, width
    elif width < height:
        resized = int(exact * height / width), target
    else:
        resized = target, int(exact * width / height)
    return resized[0] - resized[0] % multiple, resized[1] - resized[1] % multiple


class Preprocessor:
    """Converts frames to the network's input. Thread-safe: scratch space is per thread."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing
        levels = np.arange(256, dtype=np.float32) * np.float32(preprocessing.scale)
        mean, std = (
            np.array(preprocessing.mean, np.float32),
            np.array(preprocessing.std, np.float32),
        )
        # A colour has only 256 values. A table of these makes rescaling and normalising a look-up,
        # with the processor's own rounding.
        self._tables = np.stack([(levels - mean[c]) / std[c] for c in range(3)])
        self._local = threading.local()

    def __call__(self, frames_bgr: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """Preprocess frames of one size.

        Args:
            frames_bgr: uint8 (h, w, 3), all of one size.

        Returns:
            (n, 3, input height, input width) float32, RGB.
        """
        shape_hw = frames_bgr[0].shape[:2]
        height, width = self.preprocessing.resized_hw(shape_hw)
        make = np.empty if self.preprocessing.pad_hw is None else np.zeros
        out = make((len(frames_bgr), 3, *self.preprocessing.input_hw(shape_hw)), np.float32)
        for target, frame in zip(out, frames_bgr, strict=True):
            self._one(frame, target[:, :height, :width])
        return out

    def mask(self, shape_hw: tuple[int, int]) -> npt.NDArray[np.int64] | None:
        """Return (input height, input width) int64: 1 inside the frame, 0 in the padding.

        The result is None without padding.
        """
        if self.preprocessing.pad_hw is None:
            return None
        height, width = self.preprocessing.resized_hw(shape_hw)
        mask = np.zeros(self.preprocessing.pad_hw, np.int64)
        mask[:height, :width] = 1
        return mask

    def _one(self, frame_bgr: npt.NDArray[np.uint8], target: npt.NDArray[np.float32]) -> None:
        import cv2

        shape_hw = target.shape[1:]
        if frame_bgr.shape[:2] == shape_hw:
            planes: Sequence[npt.NDArray[np.uint8]] = self._split(frame_bgr)
        elif self.preprocessing.resample == _BILINEAR and not self.preprocessing.widens:
            planes = self._split(
                np.asarray(
                    cv2.resize(frame_bgr, shape_hw[::-1], interpolation=cv2.INTER_LINEAR), np.uint8
                )
            )
        elif self.preprocessing.resample == _BILINEAR:
            planes = [self._resize_plane(plane, shape_hw) for plane in self._split(frame_bgr)]
            _patch_border(frame_bgr, planes)
        else:
            planes = self._split(_pillow(frame_bgr, shape_hw, self.preprocessing.resample))
        for index, plane in enumerate(planes):
            target[2 - index] = cv2.LUT(plane, self._tables[2 - index])

    def _split(self, frame_bgr: npt.NDArray[np.uint8]) -> Sequence[npt.NDArray[np.uint8]]:
        """Split into colours, into memory that this thread reuses.

        Fresh pages for megabytes per frame would cost more than all the arithmetic.
        """
        import cv2

        shape_hw = frame_bgr.shape[:2]
        planes: list[npt.NDArray[np.uint8]] | None = getattr(self._local, "planes", None)
        if planes is None or planes[0].shape != shape_hw:
            planes = self._local.planes = [np.empty(shape_hw, np.uint8) for _ in range(3)]
        cv2.split(frame_bgr, planes)
        return planes

    def _resize_plane(
        self, plane: npt.NDArray[np.uint8], shape_hw: tuple[int, int]
    ) -> npt.NDArray[np.uint8]:
        import av
        from av.video.reformatter import Interpolation, VideoReformatter

        if not hasattr(self._local, "reformatter"):
            self._local.reformatter = VideoReformatter()
        source = av.VideoFrame.from_numpy_buffer(plane, "gray")
        flags = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
        resized = self._local.reformatter.reformat(
            source, shape_hw[1], shape_hw[0], "gray", interpolation=flags, threads=1
        )
        data = resized.planes[0]
        return (
            np.frombuffer(data, np.uint8)
            .reshape(-1, data.line_size)[: shape_hw[0], : shape_hw[1]]
            .copy()
        )


def _patch_border(
    frame_bgr: npt.NDArray[np.uint8], planes: Sequence[npt.NDArray[np.uint8]]
) -> None:
    """Overwrite the outermost rows and columns of a shrunk image with Pillow's."""
    (height, width), (out_height, out_width) = frame_bgr.shape[:2], planes[0].shape
    scale_y, scale_x = height / out_height, width / out_width
    if scale_y > 1:
        rows = min(height, math.ceil(2 * scale_y) + 1)
        _store(
            planes,
            np.s_[:1],
            _pillow(frame_bgr[:rows], (1, out_width), _BILINEAR, (0, 0, width, scale_y)),
        )
        strip = frame_bgr[height - rows :]
        _store(
            planes,
            np.s_[-1:],
            _pillow(strip, (1, out_width), _BILINEAR, (0, rows - scale_y, width, rows)),
        )
    if scale_x > 1:
        columns = min(width, math.ceil(2 * scale_x) + 1)
        left, right = frame_bgr[:, :columns], frame_bgr[:, width - columns :]
        _store(
            planes, np.s_[:, :1], _pillow(left, (out_height, 1), _BILINEAR, (0, 0, scale_x, height))
        )
        _store(
            planes,
            np.s_[:, -1:],
            _pillow(right, (out_height, 1), _BILINEAR, (columns - scale_x, 0, columns, height)),
        )


def _store(
    planes: Sequence[npt.NDArray[np.uint8]], where: Any, patch: npt.NDArray[np.uint8]
) -> None:
    for channel, plane in enumerate(planes):
        plane[where] = patch[..., channel]


def _pillow(
    frame: npt.NDArray[np.uint8],
    shape_hw: tuple[int, int],
    resample: int,
    box: tuple[float, float, float, float] | None = None,
) -> npt.NDArray[np.uint8]:
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(frame))
    return np.asarray(
        picture.resize((shape_hw[1], shape_hw[0]), Image.Resampling(resample), box=box)
    )


def _unsupported(folder: Path, problem: str) -> DetectorError:
    return DetectorError(
        f"The preprocessing of the checkpoint '{folder.name}' cannot be used: {problem}.",
        code="bad_preprocessing",
    )
