"""Every architecture that is published: loaded from files as they are published, read, and run on
both runtimes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import DetectorError
from ml_engine.arrays import Detections
from ml_engine.cli.main import main
from ml_engine.detection.detector import Detector
from ml_engine.detection.preprocessing import Preprocessor
from ml_engine.detection.runtimes.checkpoint import open_checkpoint
from tests.integration.test_detector_checkpoints import assert_same_detections
from tests.support.architectures import ARCHITECTURES, Architecture
from tests.support.published_checkpoints import write_checkpoint
from tests.support.small_checkpoints import BY_NAME, Load, closed_at_end, written_once
from tests.support.video_samples import write_video

ALIKE = {
    "DETR R101": "DETR R50",
    "DETR R101, transformers' own ResNet": "DETR R50, transformers' own ResNet",
    "RF-DETR Base": "RF-DETR Nano",
}
"""In the small form these differ in how their files are written, not in what OpenVINO is given."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Writes a small checkpoint, once for all tests."""
    return written_once(tmp_path_factory)


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    with closed_at_end(tmp_path / "cache") as opener:
        yield opener


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the folder may be read: a question to the hub fails at once, and no backbone asks for
    pretrained weights.
    """
    import timm
    from transformers import backbone_utils

    def asked(*_: Any) -> Any:
        raise AssertionError("the hub was asked")

    def create_model(name: str, **options: Any) -> Any:
        assert not options.get("pretrained")
        return made(name, **options)

    made = timm.create_model
    monkeypatch.setattr(backbone_utils, "hf_api", asked)
    monkeypatch.setattr(timm, "create_model", create_model)


def pictures(count: int, height: int, width: int) -> list[np.ndarray]:
    """Smooth shapes with some noise, as frames have."""
    rng = np.random.default_rng(height * width)
    y, x = np.mgrid[:height, :width]
    frames = []
    for number in range(count):
        smooth = (
            np.stack(
                [np.sin((x + 9 * number) / 17 + c) + np.cos(y / 23 - c) for c in range(3)], axis=-1
            )
            * 55
            + 127
        )
        frames.append(np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8))
    return frames


def assert_prepared_as_its_processor_does(
    folder: Path, shapes_hw: Sequence[tuple[int, int]]
) -> None:
    """Compare tensors with those of the image processor that transformers makes of the folder: the
    Pillow one, where there is one.
    """
    from transformers import AutoImageProcessor

    preprocessing = open_checkpoint(str(folder)).preprocessing
    preprocessor = Preprocessor(preprocessing)
    kind = json.loads((folder / "preprocessor_config.json").read_text()).get("image_processor_type")
    backend = "torchvision" if kind == "RfDetrImageProcessor" else "pil"
    processor = AutoImageProcessor.from_pretrained(folder, backend=backend)
    std = np.array(preprocessing.std)[None, :, None, None]
    for height, width in shapes_hw:
        frame = pictures(1, height, width)[0]
        rgb = np.ascontiguousarray(frame[:, :, ::-1])
        expected = processor(images=[rgb], return_tensors="np", input_data_format="channels_last")
        tensor = preprocessor([frame])
        assert tensor.shape == expected["pixel_values"].shape
        levels = np.abs(tensor - expected["pixel_values"]) * std / preprocessing.scale
        # As `preprocessing` promises.
        assert levels.max() <= (3.01 if backend == "pil" else 1) and levels.mean() <= 0.34


def assert_nearly_same_detections(one: Detections, other: Detections) -> None:
    """99 boxes in 100 within 1 px, scores within 0.01: of thousands of places, random weights rank
    some alike, and runtimes pick others.
    """
    for a, b in ((one, other), (other, one)):
        distance = np.abs(a.xyxy[:, None] - b.xyxy[None]).max(axis=2)
        near = (distance.min(axis=1) <= 1) & (
            np.abs(a.scores - b.scores[distance.argmin(axis=1)]).max(axis=1) <= 0.01
        )
        assert near.mean() >= 0.99


def assert_runs_alike(
    detectors: Sequence[Detector],
    shapes_hw: Sequence[tuple[int, int]],
    assert_same: Callable[[Detections, Detections], None] = assert_same_detections,
) -> None:
    """One picture and three at once, of each size, on both: the same boxes, and none that depends
    on its neighbours.
    """
    for shape_hw in shapes_hw:
        frames = pictures(3, *shape_hw)
        one, other = (
            [*detector.detect(frames[:1]), *detector.detect(frames)] for detector in detectors
        )
        for a, b in zip(one, other, strict=True):
            assert len(a) > 0
            assert_same(a, b)
        assert np.array_equal(one[0].xyxy, one[1].xyxy) and np.array_equal(
            one[0].scores, one[1].scores
        )


@pytest.mark.parametrize("name", BY_NAME)
def test_published_files_are_read_as_they_are_meant(
    name: str, checkpoint: Callable[[str], Path], load: Load
) -> None:
    folder = checkpoint(name)
    torch = load(folder, "torch")
    assert (
        torch.info.labels["person"] == "person"
        and torch.info.labels["cow"] == "cattle"
        and torch.info.labels["horse"] == "animal"
    )
    assert "N/A" not in torch.info.labels
    assert_prepared_as_its_processor_does(folder, [(90, 160), (160, 90), (120, 130)])
    assert len(torch.detect(pictures(2, 160, 90))) == 2


@pytest.mark.parametrize("name", [name for name in BY_NAME if name not in ALIKE])
def test_both_runtimes_find_the_same(
    name: str, checkpoint: Callable[[str], Path], load: Load
) -> None:
    folder = checkpoint(name)
    detectors = load(folder, "torch"), load(folder, "auto")
    assert_runs_alike(detectors, [(90, 160), (160, 90)])
    assert [detector.info.runtime for detector in detectors] == ["torch", "openvino"]


@pytest.mark.soak
@pytest.mark.parametrize("name", BY_NAME)
def test_published_sizes_run_on_both_runtimes(name: str, tmp_path: Path, load: Load) -> None:
    write_checkpoint(BY_NAME[name], tmp_path / "published", small=False)
    assert_prepared_as_its_processor_does(tmp_path / "published", [(720, 1280), (1280, 720)])
    detectors = load(tmp_path / "published", "torch"), load(tmp_path / "published", "auto")
    assert_runs_alike(detectors, [(720, 1280), (1280, 720)], assert_nearly_same_detections)
    assert [detector.info.runtime for detector in detectors] == ["torch", "openvino"]


def test_the_cattle_counters_detector_counts_in_a_video(
    checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MUSTER_DEVICE", "torch")
    video = write_video(tmp_path / "clip.mp4", frames=12)
    out = tmp_path / "out"
    assert (
        main(
            [
                "count",
                str(video),
                "--detector",
                str(checkpoint("DETR R50")),
                "--out",
                str(out),
                "--no-render",
            ]
        )
        == 0
    )
    results = json.loads((out / "results.json").read_text())
    assert (results["detector"]["runtime"], results["detector"]["labels"]["cow"]) == (
        "torch",
        "cattle",
    )
    assert set(results["detector"]["thresholds"].values()) == {0.7}
    assert results["video"]["frames"] == 12


def test_backbone_of_another_repository_is_refused(tmp_path: Path, load: Load) -> None:
    own = "DETR R50, transformers' own ResNet"
    write_checkpoint(BY_NAME[own], tmp_path / "published", small=True)
    config = json.loads((tmp_path / "published" / "config.json").read_text())
    config |= {
        "backbone": "microsoft/resnet-50",
        "backbone_config": None,
        "use_pretrained_backbone": True,
    }
    (tmp_path / "published" / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        DetectorError, match="is in another repository; save it with `backbone_config`"
    ) as caught:
        load(tmp_path / "published", "torch")
    assert caught.value.code == "bad_checkpoint"


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        # What transformers' own default configurations of the two families come to.
        (
            "RF-DETR Nano",
            {"processor": {"size": {"height": 144, "width": 144}}},
            "does not run on input of 144 x 144 px",
        ),
        (
            "LW-DETR Tiny",
            {"config": {"projector_scale_factors": []}},
            "does not run on input of 128 x 128 px",
        ),
    ],
)
@pytest.mark.parametrize("device", ["torch", "openvino", "auto"])
def test_networks_that_fit_no_input_are_named_on_every_device(
    name: str, change: dict[str, Any], reason: str, device: str, tmp_path: Path, load: Load
) -> None:
    published = BY_NAME[name]
    small = {**published.small, **change.get("config", {})}
    size = change.get("processor", {}).get("size", published.small_size)
    changed = Architecture(
        name, "-", "-", published.config, published.processor, small, size, published.labels
    )
    write_checkpoint(changed, tmp_path / "published", small=True)
    with pytest.raises(DetectorError, match=reason) as caught:
        load(tmp_path / "published", device)
    assert caught.value.code == "bad_checkpoint"
    assert not list(tmp_path.rglob("*.refused.json")), (
        "a fault of the checkpoint is none of OpenVINO's"
    )


def test_frame_that_the_network_cannot_take_is_named(
    checkpoint: Callable[[str], Path], tmp_path: Path, load: Load
) -> None:
    published = BY_NAME["RF-DETR Nano"]
    folder = tmp_path / "published"
    write_checkpoint(published, folder, small=True)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({**published.processor, "size": {"shortest_edge": 96, "longest_edge": 160}})
    )
    with pytest.raises(
        DetectorError, match="on a frame of 160 x 90 px, input 160 x 90 .*preprocessor_config.json"
    ) as caught:
        load(folder, "torch").detect(pictures(1, 90, 160))
    assert caught.value.code == "inference_failed"


def test_the_table_of_detectors_lists_exactly_these() -> None:
    text = (Path(__file__).parents[2] / "docs" / "explanation" / "detector.md").read_text(
        encoding="utf-8"
    )
    rows = [
        line.strip("| ").split(" | ")
        for line in text.splitlines()
        if line.startswith("| ") and line.count("|") == 9
    ]
    table = [(row[0], row[1].strip("`"), row[2]) for row in rows]
    assert table == [
        ("detector", "published as", "licence"),
        *((one.name, one.published, one.licence) for one in ARCHITECTURES),
    ]
