"""Real networks: the published checkpoints of ../shared/models, and tiny random ones of other
families.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.domain.analysis import AnalysisSettings
from core.domain.job import Segment
from core.errors import DetectorError, StorageFull
from ml_engine.arrays import Detections
from ml_engine.detection.detector import Detector
from ml_engine.detection.duplicates import remove_duplicates
from ml_engine.detection.loading import describe_detector, load_detector
from ml_engine.detection.log import read_log
from ml_engine.detection.runtimes.openvino_conversion import store_network
from ml_engine.detection.runtimes.openvino_package import load_openvino
from ml_engine.stages.detect import detect_segment
from ml_engine.stages.run import Run
from ml_engine.video.decode import decode
from ml_engine.video.index import VideoIndex, probe

CATTLE, PERSON, ANIMAL = 1, 2, 3


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("detector-cache")


@pytest.fixture(scope="module")
def herd(shared_dir: Path) -> tuple[Path, VideoIndex]:
    path = shared_dir / "data" / "clips" / "cow-herd-pasture.mp4"
    return path, probe(path)


@pytest.fixture(scope="module")
def herd_frames(herd: tuple[Path, VideoIndex]) -> list[np.ndarray]:
    frames = [
        frame.image_bgr
        for frame in decode(*herd, first_frame=0, frames=61, seek_pts=None, threads=1)
    ]
    return [frame for frame in frames[::20] if frame is not None]


@pytest.fixture
def load(cache_dir: Path) -> Iterator[Callable[..., Detector]]:
    opened: list[Detector] = []

    def opener(source: Path, device: Any = "auto", threads: int | None = None) -> Detector:
        opened.append(
            load_detector(
                str(source), name="test", device=device, cache_dir=cache_dir, threads=threads
            )
        )
        return opened[-1]

    yield opener
    for detector in opened:
        detector.close()


def assert_same_detections(one: Detections, other: Detections, floor: float = 0.05) -> None:
    """Boxes within 1 px, scores within 0.01.

    Those within 0.01 of the floor may be missing on one side.
    """
    for a, b in ((one, other), (other, one)):
        sure = a.scores.max(axis=1) >= floor + 0.01
        distance = np.abs(a.xyxy[sure, None] - b.xyxy[None]).max(axis=2)
        nearest = distance.argmin(axis=1)
        assert distance.min(axis=1).max(initial=0) <= 1
        assert np.abs(a.scores[sure] - b.scores[nearest]).max(initial=0) <= 0.01


def assert_same_appearance(one: Detections, other: Detections) -> None:
    """Embeddings of the same box point the same way, and have length 1."""
    assert one.embeddings is not None and other.embeddings is not None
    assert one.embeddings.dtype == other.embeddings.dtype == np.float16
    assert one.embeddings.shape == (len(one), 32)
    sure = np.flatnonzero(one.scores.max(axis=1) >= 0.2)
    nearest = np.abs(one.xyxy[sure, None] - other.xyxy[None]).max(axis=2).argmin(axis=1)
    vectors, others = (
        one.embeddings[sure].astype(np.float64),
        other.embeddings[nearest].astype(np.float64),
    )
    assert (vectors * others).sum(axis=1).min() > 0.998
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 0.002


def test_onnx_export_finds_the_herd(
    shared_dir: Path, herd_frames: list[np.ndarray], load: Callable[..., Detector]
) -> None:
    detector = load(shared_dir / "models" / "deimv2-femto-coco-onnx")
    assert (detector.info.runtime, detector.info.precision, detector.info.input_hw) == (
        "openvino",
        "f32",
        (416, 416),
    )
    found = [remove_duplicates(d) for d in detector.detect(herd_frames)]
    counts = [int((d.scores[:, CATTLE] >= detector.info.thresholds["cattle"]).sum()) for d in found]
    assert all(18 <= count <= 26 for count in counts), counts
    for d in found:
        assert (d.xyxy.dtype, d.scores.dtype) == (np.float32, np.float32)
        assert d.xyxy.min() >= 0 and d.xyxy[:, 2].max() <= 640 and d.xyxy[:, 3].max() <= 360
        assert (d.scores[:, ANIMAL] >= d.scores[:, CATTLE]).all()


def test_several_labels_of_one_animal_are_known_from_an_export(
    shared_dir: Path, load: Callable[..., Detector]
) -> None:
    import cv2

    detector = load(shared_dir / "models" / "deimv2-femto-coco-onnx")
    both = 0
    for path in sorted((shared_dir / "data" / "bison-photos").glob("*.jpg"))[:8]:
        found = detector.detect([np.asarray(cv2.imread(str(path)), np.uint8)])[0]
        assert len(np.unique(found.xyxy, axis=0)) == len(found)
        both += int(
            (
                (found.scores[:, CATTLE] > 0.05)
                & (found.scores[:, ANIMAL] > found.scores[:, CATTLE])
            ).sum()
        )
    assert both >= 1  # such as an elephant of 0.4 that is a cow of 0.3


def test_results_do_not_depend_on_threads_or_neighbours(
    shared_dir: Path, herd_frames: list[np.ndarray], load: Callable[..., Detector]
) -> None:
    path = shared_dir / "models" / "deimv2-femto-coco-onnx"
    one, many = load(path, threads=1), load(path, threads=4)
    assert (one.concurrency, many.concurrency) == (1, 4)
    alone = [one.detect([frame])[0] for frame in herd_frames]
    for together in (one.detect(herd_frames), many.detect(herd_frames[::-1])[::-1]):
        for a, b in zip(alone, together, strict=True):
            assert np.array_equal(a.xyxy, b.xyxy) and np.array_equal(a.scores, b.scores)


def test_torch_and_openvino_agree(
    shared_dir: Path, herd_frames: list[np.ndarray], load: Callable[..., Detector]
) -> None:
    folder = shared_dir / "models" / "deimv2-femto-coco"
    torch, openvino = load(folder, "torch"), load(folder, "openvino")
    assert (torch.info.runtime, openvino.info.runtime) == ("torch", "openvino")
    assert torch.info.fingerprint == openvino.info.fingerprint
    for a, b in zip(torch.detect(herd_frames), openvino.detect(herd_frames), strict=True):
        assert (a.scores[:, CATTLE] > 0.3).sum() >= 20
        assert_same_detections(a, b)
        assert_same_appearance(a, b)


def test_exports_have_no_appearance(
    shared_dir: Path, herd_frames: list[np.ndarray], load: Callable[..., Detector]
) -> None:
    assert (
        load(shared_dir / "models" / "deimv2-femto-coco-onnx").detect(herd_frames[:1])[0].embeddings
        is None
    )


def test_appearance_follows_its_box_through_tiles(
    shared_dir: Path, herd_frames: list[np.ndarray], load: Callable[..., Detector]
) -> None:
    detector = load(shared_dir / "models" / "deimv2-femto-coco", "openvino")
    whole, tiled = (
        remove_duplicates(detector.detect(herd_frames[:1], tiles=tiles)[0])
        for tiles in ("off", "1x2")
    )
    assert whole.embeddings is not None and tiled.embeddings is not None
    rows = {box.tobytes(): row for row, box in enumerate(whole.xyxy)}
    both = [
        (rows[box.tobytes()], row) for row, box in enumerate(tiled.xyxy) if box.tobytes() in rows
    ]
    assert len(both) >= 3
    assert all(
        np.array_equal(whole.embeddings[one], tiled.embeddings[other]) for one, other in both
    )


def test_tiles_find_at_least_as_much_and_nothing_twice(
    shared_dir: Path, herd_frames: list[np.ndarray], load: Callable[..., Detector]
) -> None:
    detector = load(shared_dir / "models" / "deimv2-femto-coco-onnx")
    whole = remove_duplicates(detector.detect(herd_frames[:1])[0])
    tiled = detector.detect(herd_frames[:1], tiles="2x2")[0]
    assert len(remove_duplicates(tiled)) == len(tiled)
    sure = [(d.scores[:, ANIMAL] >= 0.4).sum() for d in (whole, tiled)]
    assert sure[0] <= sure[1] <= 30


def test_segment_of_the_herd_is_the_same_bytes_each_time(
    shared_dir: Path, herd: tuple[Path, VideoIndex], load: Callable[..., Detector]
) -> None:
    path, index = herd
    segment = Segment(index=0, file_index=0, first_frame=500, frames=30, file_first_frame=0)
    times = (index.pts[:30] - index.pts[0]) * float(index.time_base)
    done: list[int] = []
    logs = set()
    for threads in (1, 3):
        detector = load(shared_dir / "models" / "deimv2-femto-coco-onnx", threads=threads)
        run = Run(AnalysisSettings(detect_fps=15), done.append)
        logs.add(detect_segment(path, index, segment, detector, frame_times_s=times, run=run))
    assert len(logs) == 1 and done[-1] == 30
    log = read_log(logs.pop())
    assert log.frames.tolist() == list(range(500, 530))
    assert np.array_equal(log.status, np.arange(30) % 2)
    assert (np.diff(log.offsets)[::2] > 20).all() and log.scores.max(axis=1).min() >= 0.05


def test_conversion_is_kept_and_safe_at_once(
    shared_dir: Path, tmp_path: Path, herd_frames: list[np.ndarray]
) -> None:
    folder = str(shared_dir / "models" / "deimv2-atto-coco")
    results: list[Detections] = []

    def work() -> None:
        detector = load_detector(
            folder, name="atto", device="openvino", cache_dir=tmp_path, threads=1
        )
        results.append(detector.detect(herd_frames[:1])[0])
        detector.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2 and np.array_equal(results[0].xyxy, results[1].xyxy)
    kept = list((tmp_path / "openvino").iterdir())
    assert [sorted(file.name for file in entry.iterdir()) for entry in kept] == [
        ["model.bin", "model.xml"]
    ]
    before = (kept[0] / "model.bin").stat().st_mtime_ns
    work()
    assert (kept[0] / "model.bin").stat().st_mtime_ns == before


def test_second_process_that_converted_keeps_the_firsts_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openvino = load_openvino()

    def network(factor: float) -> Any:
        pixels = openvino.opset13.parameter([1, 3], openvino.Type.f32)
        return openvino.Model([openvino.opset13.multiply(pixels, np.float32(factor))], [pixels])

    target = tmp_path / "cache" / "key"
    store_network(network(2), target)
    first = (target / "model.bin").read_bytes()
    store_network(network(3), target)
    assert (target / "model.bin").read_bytes() == first
    assert [entry.name for entry in target.parent.iterdir()] == ["key"]
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DetectorError) as refused:
        store_network(network(2), tmp_path / "file" / "key")
    assert refused.value.code == "cache_not_writable", "waiting would not help"

    def no_room(*given: object, **options: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(
        "ml_engine.detection.runtimes.openvino_conversion.tempfile.mkdtemp", no_room
    )
    with pytest.raises(StorageFull):
        store_network(network(2), tmp_path / "other" / "key")


def test_closed_detector_says_so(
    shared_dir: Path, herd_frames: list[np.ndarray], load: Callable[..., Detector]
) -> None:
    detector = load(shared_dir / "models" / "deimv2-femto-coco-onnx", threads=1)
    detector.close()
    detector.close()
    with pytest.raises(DetectorError) as caught:
        detector.detect(herd_frames[:1])
    assert caught.value.code == "detector_closed"


def test_description_equals_what_is_loaded(shared_dir: Path, load: Callable[..., Detector]) -> None:
    for folder in ("deimv2-femto-coco-onnx", "deimv2-atto-coco"):
        source = shared_dir / "models" / folder
        assert (
            describe_detector(str(source), name="test", device="openvino")
            == load(source, "openvino").info
        )


NAMES = {0: "person", 1: "cow", 2: "horse", 3: "tree"}


def save_tiny_detr(folder: Path) -> None:
    from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

    layers: dict[str, Any] = {
        "hidden_sizes": [8, 8, 8, 16],
        "depths": [1, 1, 1, 1],
        "layer_type": "basic",
        "out_features": ["stage4"],
    }
    backbone = ResNetConfig(embedding_size=8, **layers)
    sizes: dict[str, Any] = {
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16,
    }
    heads: dict[str, Any] = {
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "num_queries": 9,
    }
    whose: dict[str, Any] = {"use_timm_backbone": False, "backbone": None}
    config = DetrConfig(**whose, backbone_config=backbone, id2label=NAMES, **sizes, **heads)
    DetrForObjectDetection(config).save_pretrained(folder)
    size = '{"shortest_edge": 96, "longest_edge": 160}'
    (folder / "preprocessor_config.json").write_text(
        f'{{"image_processor_type": "DetrImageProcessor", "size": {size}, "do_pad": true}}'
    )


def save_tiny_yolos(folder: Path) -> None:
    from transformers import YolosConfig, YolosForObjectDetection

    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "image_size": [96, 128],
    }
    config = YolosConfig(
        **sizes, num_detection_tokens=9, use_mid_position_embeddings=False, id2label=NAMES
    )
    YolosForObjectDetection(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        '{"image_processor_type": "YolosImageProcessor", "size": {"height": 96, "width": 128}}'
    )


@pytest.mark.parametrize("save", [save_tiny_detr, save_tiny_yolos])
def test_other_families_run_on_both_runtimes(
    tmp_path: Path, load: Callable[..., Detector], save: Callable[[Path], None]
) -> None:
    import torch

    from ml_engine.detection.runtimes.torch_runtime import quiet

    torch.manual_seed(1)
    with quiet():
        save(tmp_path / "tiny")
    rng = np.random.default_rng(0)
    both = load(tmp_path / "tiny", "torch"), load(tmp_path / "tiny", "openvino")
    for shape in ((90, 160, 3), (160, 90, 3)):
        frames = [rng.integers(0, 256, shape, np.uint8) for _ in range(3)]
        for a, b in zip(*(detector.detect(frames) for detector in both), strict=True):
            assert len(a) == 9
            assert_same_detections(a, b)


def test_missing_weights_are_an_error_not_random_boxes(
    tmp_path: Path, load: Callable[..., Detector]
) -> None:
    from safetensors.numpy import load_file, save_file

    from ml_engine.detection.runtimes.torch_runtime import quiet

    with quiet():
        save_tiny_yolos(tmp_path / "tiny")
    weights = load_file(tmp_path / "tiny" / "model.safetensors")
    del weights["bbox_predictor.layers.0.weight"]
    save_file(weights, tmp_path / "tiny" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DetectorError, match="bbox_predictor") as caught:
        load(tmp_path / "tiny", "torch")
    assert caught.value.code == "bad_checkpoint"
    (tmp_path / "tiny" / "model.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(DetectorError) as caught:
        load(tmp_path / "tiny", "openvino")
    assert caught.value.code == "bad_checkpoint"
