"""Our preprocessing against the image processors of transformers.

Needs no weights, but transformers' import takes seconds.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import DetectorError
from ml_engine.detection.preprocessing import (
    Preprocessor,
    parse_preprocessing,
    plain_preprocessing,
    read_preprocessing,
)

DEIMV2 = {
    "do_normalize": False,
    "do_pad": False,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "RTDetrImageProcessor",
    "image_std": [0.229, 0.224, 0.225],
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 416, "width": 416},
}
RT_DETR = {
    "image_processor_type": "RTDetrImageProcessor",
    "size": {"height": 640, "width": 640},
    "do_normalize": True,
}
DETR = {"image_processor_type": "DetrImageProcessor"}
DETR_PADDED = {
    **DETR,
    "size": {"shortest_edge": 480, "longest_edge": 800},
    "do_pad": True,
    "pad_size": {"height": 832, "width": 800},
}
BICUBIC = {
    **DETR,
    "size": {"shortest_edge": 300, "longest_edge": 401},
    "resample": 3,
    "do_normalize": False,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "deimv2": DEIMV2,
    "rt_detr": RT_DETR,
    "detr": DETR,
    "detr_padded": DETR_PADDED,
    "bicubic": BICUBIC,
}


def picture(height: int, width: int) -> np.ndarray:
    """Smooth shapes with some noise, as frames have."""
    rng = np.random.default_rng(height * width)
    y, x = np.mgrid[:height, :width]
    smooth = (
        np.stack([np.sin(x / 17 + c) + np.cos(y / 23 - c) for c in range(3)], axis=-1) * 55 + 127
    )
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


def reference(config: dict[str, Any], frame_bgr: np.ndarray) -> dict[str, np.ndarray]:
    """What the checkpoint's own processor makes of a frame."""
    from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil
    from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil

    options = {key: value for key, value in config.items() if key != "image_processor_type"}
    kind = (
        RTDetrImageProcessorPil
        if config["image_processor_type"].startswith("RTDetr")
        else DetrImageProcessorPil
    )
    frame_rgb = np.ascontiguousarray(frame_bgr[:, :, ::-1])
    return dict(
        kind(**options)(images=[frame_rgb], return_tensors="np", input_data_format="channels_last")
    )


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("shape_hw", [(360, 640), (1080, 1920), (303, 171), (416, 416)])
def test_tensors_are_the_processors(name: str, shape_hw: tuple[int, int]) -> None:
    config, frame = CONFIGS[name], picture(*shape_hw)
    expected = reference(config, frame)
    preprocessing = parse_preprocessing(config)
    preprocessor = Preprocessor(preprocessing)
    tensor = preprocessor([frame])
    assert tensor.dtype == np.float32
    assert tensor.shape == expected["pixel_values"].shape
    std = np.array(preprocessing.std)[None, :, None, None]
    levels = np.abs(tensor - expected["pixel_values"]) * std / preprocessing.scale
    shrinks = all(
        out <= given
        for out, given in zip(preprocessing.resized_hw(shape_hw), shape_hw, strict=True)
    )
    exact = name == "bicubic" or preprocessing.resized_hw(shape_hw) == shape_hw
    assert levels.max() <= (0 if exact else 1 if shrinks else 3) + 1e-3
    assert levels.mean() <= 0.34
    if preprocessing.pad_hw is not None:
        mask = preprocessor.mask(shape_hw)
        assert mask is not None and np.array_equal(mask, expected["pixel_mask"][0])
    else:
        assert preprocessor.mask(shape_hw) is None


@pytest.mark.parametrize("seed", range(40))
def test_sizes_round_as_the_processors_do(seed: int) -> None:
    from transformers.image_transforms import get_size_with_aspect_ratio
    from transformers.image_utils import get_image_size_for_max_height_width
    from transformers.models.yolos.image_processing_pil_yolos import (
        get_size_with_aspect_ratio_yolos,
    )

    rng = np.random.default_rng(seed)
    height, width, shortest, longest = (int(number) for number in rng.integers(2, 3000, 4))
    shortest, longest = min(shortest, longest), max(shortest, longest)
    edges = parse_preprocessing(
        {**DETR, "size": {"shortest_edge": shortest, "longest_edge": longest}}
    )
    assert edges.resized_hw((height, width)) == get_size_with_aspect_ratio(
        (height, width), shortest, longest
    )
    yolos = parse_preprocessing(
        {
            "image_processor_type": "YolosImageProcessor",
            "size": {"shortest_edge": shortest, "longest_edge": longest},
        }
    )
    for shape_hw in ((height, width), (shortest, width), (height, shortest)):
        assert yolos.resized_hw(shape_hw) == get_size_with_aspect_ratio_yolos(
            shape_hw, shortest, longest
        )
    bounds = parse_preprocessing({**DETR, "size": {"max_height": shortest, "max_width": longest}})
    assert bounds.resized_hw((height, width)) == get_image_size_for_max_height_width(
        (height, width), shortest, longest
    )


def test_colours_are_red_first() -> None:
    frame = np.zeros((8, 8, 3), np.uint8)
    frame[..., 2] = 255
    tensor = Preprocessor(plain_preprocessing((4, 6)))([frame])
    assert tensor.shape == (1, 3, 4, 6)
    assert (tensor[0, 0] == 1).all() and (tensor[0, 1:] == 0).all()


def test_threads_do_not_disturb_each_other() -> None:
    preprocessor = Preprocessor(plain_preprocessing((64, 64)))
    frames = [picture(100 + 7 * index, 150) for index in range(8)]
    alone = [preprocessor([frame]) for frame in frames]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda frame: preprocessor([frame]), frames * 5))
    assert all(np.array_equal(a, b) for a, b in zip(alone * 5, together, strict=True))


def test_crops_and_tiny_frames() -> None:
    preprocessor = Preprocessor(plain_preprocessing((64, 96)))
    frame = picture(200, 300)
    assert np.array_equal(
        preprocessor([frame[20:120, 31:211]]), preprocessor([frame[20:120, 31:211].copy()])
    )
    assert np.allclose(preprocessor([np.full((1, 1, 3), 51, np.uint8)]), 0.2, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "{",
        "[]",
        '{"do_center_crop": true}',
        '{"size": {"width": 3}}',
        '{"resample": 9}',
        '{"image_std": [1, 2], "do_normalize": true}',
    ],
)
def test_unusable_configuration_is_named(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(DetectorError) as caught:
        read_preprocessing(tmp_path)
    assert caught.value.code == "bad_preprocessing"


def test_configuration_is_read_from_the_folder(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(DEIMV2))
    preprocessing = read_preprocessing(tmp_path)
    assert (preprocessing.rule, preprocessing.size, preprocessing.mean, preprocessing.std) == (
        "exact",
        (416, 416),
        (0, 0, 0),
        (1, 1, 1),
    )
