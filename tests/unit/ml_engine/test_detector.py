"""Finding checkpoints, choosing a runtime, reading outputs. No network is run here."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import DetectorError
from ml_engine.detection.labels import label_table
from ml_engine.detection.loading import (
    bundled_checkpoint,
    choose_runtime,
    describe_detector,
    load_detector,
)
from ml_engine.detection.runtimes.checkpoint import open_checkpoint
from ml_engine.detection.runtimes.postprocess import ExportDecoder, QueryDecoder, projection

NAMES = ("person", "cow", "horse", "tree", "bison")


def checkpoint_folder(folder: Path, **config: Any) -> Path:
    """A folder that looks like a checkpoint; its weights are no weights, which nobody finds out
    without loading them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    described = {
        "model_type": "rt_detr",
        "id2label": {str(i): name for i, name in enumerate(NAMES)},
        **config,
    }
    (folder / "config.json").write_text(json.dumps(described))
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "RTDetrImageProcessor"})
    )
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def code_of(source: str | Path) -> str:
    with pytest.raises(DetectorError) as caught:
        open_checkpoint(str(source))
    return caught.value.code


def test_description_of_a_folder(tmp_path: Path) -> None:
    info = describe_detector(str(checkpoint_folder(tmp_path / "a")), name="mine", device="openvino")
    assert (info.name, info.runtime, info.device, info.precision, info.input_hw) == (
        "mine",
        "openvino",
        "cpu",
        "f32",
        (640, 640),
    )
    assert info.labels == {"person": "person", "cow": "cattle", "horse": "animal", "bison": "bison"}
    assert set(info.thresholds) == {"bison", "cattle", "person"}
    assert len(info.fingerprint) == 64


def test_fingerprint_follows_every_file_but_not_the_folders_name(tmp_path: Path) -> None:
    first = open_checkpoint(str(checkpoint_folder(tmp_path / "a"))).fingerprint
    assert open_checkpoint(str(checkpoint_folder(tmp_path / "b"))).fingerprint == first
    seen = {first}
    for index, (name, text) in enumerate(
        [
            ("model.safetensors", "other weights"),
            ("muster.json", '{"labels": {"cow": "cattle"}}'),
            ("muster.json", '{"labels": {"cow": "bison"}}'),
            ("preprocessor_config.json", '{"size": {"height": 320, "width": 320}}'),
        ]
    ):
        folder = checkpoint_folder(tmp_path / str(index))
        (folder / name).write_text(text)
        seen.add(open_checkpoint(str(folder)).fingerprint)
    assert len(seen) == 5


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert code_of(tmp_path / "empty") == "checkpoint_not_found"
    assert code_of(tmp_path / "absent.onnx") == "checkpoint_not_found"
    assert code_of("../../etc/passwd/x") == "checkpoint_not_found"
    (tmp_path / "notes.txt").write_text("cows")
    assert code_of(tmp_path / "notes.txt") == "checkpoint_not_found"
    (tmp_path / "two").mkdir()
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / "two" / name).write_bytes(b"")
    assert code_of(tmp_path / "two") == "checkpoint_not_found"
    (tmp_path / "bad.onnx").write_bytes(b"\x00\x01 no protobuf")
    assert code_of(tmp_path / "bad.onnx") == "bad_checkpoint"


def test_unsafe_and_unknown_checkpoints_are_refused(tmp_path: Path) -> None:
    pickled = checkpoint_folder(tmp_path / "pickle")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    assert code_of(pickled) == "unsafe_weights"
    assert (
        code_of(checkpoint_folder(tmp_path / "kind", model_type="resnet")) == "unknown_architecture"
    )
    assert (
        code_of(checkpoint_folder(tmp_path / "code", auto_map={"AutoModel": "x.py"}))
        == "unknown_architecture"
    )
    assert (
        code_of(checkpoint_folder(tmp_path / "labels", id2label={"0": "LABEL_0"}))
        == "no_usable_label"
    )
    assert code_of(checkpoint_folder(tmp_path / "none", id2label={})) == "no_usable_label"
    broken = checkpoint_folder(tmp_path / "broken")
    (broken / "config.json").write_text("{")
    assert code_of(broken) == "bad_checkpoint"


def test_hub_without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DetectorError, match="switched off") as caught:
        load_detector("nobody/has-such-a-model", name="x", device="auto", cache_dir=tmp_path)
    assert caught.value.code == "checkpoint_not_found"


def test_the_hub_is_not_told_what_else_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    told: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.append(self.headers["User-Agent"])
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{hub.server_port}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        assert code_of("nobody/has-such-a-model") == "checkpoint_not_found"
        hub.shutdown()
    assert told and not any("torch" in agent for agent in told)


@pytest.mark.parametrize(
    ("kind", "device", "cuda", "runtime"),
    [
        ("transformers", "auto", True, "cuda"),
        ("transformers", "auto", False, "openvino"),
        ("transformers", "cuda", True, "cuda"),
        ("transformers", "torch", True, "torch"),
        ("transformers", "openvino", True, "openvino"),
        ("onnx", "auto", True, "openvino"),
        ("onnx", "openvino", False, "openvino"),
        ("transformers", "cuda", False, "no_cuda"),
        ("onnx", "cuda", True, "onnx_needs_openvino"),
        ("onnx", "torch", False, "onnx_needs_openvino"),
        ("transformers", "tpu", True, "unknown_device"),
    ],
)
def test_choice_of_the_runtime(
    monkeypatch: pytest.MonkeyPatch, kind: str, device: Any, cuda: bool, runtime: str
) -> None:
    monkeypatch.setattr("ml_engine.detection.loading.has_cuda", lambda: cuda)
    if "_" in runtime:
        with pytest.raises(DetectorError) as caught:
            choose_runtime(kind, device)
        assert caught.value.code == runtime
    else:
        assert choose_runtime(kind, device) == runtime


def test_describing_imports_no_heavy_library(tmp_path: Path) -> None:
    folder = checkpoint_folder(tmp_path / "a")
    script = (
        "import sys; from ml_engine.detection.loading import describe_detector; "
        f"describe_detector({str(folder)!r}, name='x', device='openvino'); "
        "print([name for name in ('torch', 'transformers', 'openvino', 'cv2', 'av') if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert answer.stdout.strip() == "[]"


def test_bundled_checkpoint_is_part_of_the_engine() -> None:
    assert bundled_checkpoint().parts[-3:] == ("ml_engine", "checkpoints", "pasture")


def test_sigmoid_scores_of_all_labels_are_folded_into_columns() -> None:
    decode = QueryDecoder(label_table(NAMES, None).membership(), softmax=False)
    probabilities = np.array(
        [[0.2, 0.6, 0.7, 0.99, 0.1], [0.001] * 5, [0.9, 0.02, 0.02, 0.02, 0.02]]
    )
    logits = np.log(probabilities / (1 - probabilities)).astype(np.float32)
    boxes = np.array(
        [[0.5, 0.5, 0.2, 0.4], [0.1, 0.1, 0.1, 0.1], [0.05, 0.5, 0.2, 0.2]], np.float32
    )
    found = decode(logits, boxes, (200, 100))
    # columns: bison, cattle, person, animal; ordered by the best column; the second box is noise;
    # the third is clipped to the frame
    assert np.allclose(found.scores, [[0.02, 0.02, 0.9, 0.02], [0.1, 0.6, 0.2, 0.7]], atol=1e-6)
    assert np.allclose(found.xyxy, [[0, 40, 30, 60], [80, 30, 120, 70]], atol=1e-4)
    assert (found.xyxy.dtype, found.scores.dtype) == (np.float32, np.float32)


def test_softmax_scores_leave_the_last_class_to_nothing() -> None:
    decode = QueryDecoder(label_table(NAMES, None).membership(), softmax=True)
    probabilities = np.array(
        [[0.1, 0.5, 0.2, 0.1, 0.05, 0.05], [1e-4, 1e-4, 1e-4, 1e-4, 1e-4, 0.9995]]
    )
    found = decode(
        np.log(probabilities).astype(np.float32), np.full((2, 4), 0.5, np.float32), (100, 100)
    )
    assert np.allclose(found.scores, [[0.05, 0.5, 0.1, 0.5]], atol=1e-6)


def test_rows_of_one_query_in_an_export_are_one_box() -> None:
    decode = ExportDecoder(label_table(NAMES, None).membership())
    labels = np.array([1, 2, 0, 3, 99, -1, 1])
    box, other = [10, 10, 50, 60], [70, 10, 90, 30]
    boxes = np.array([box, box, other, other, box, box, box], np.float32)
    scores = np.array([0.6, 0.8, 0.3, 0.95, 0.9, 0.9, 0.001], np.float32)
    found = decode(labels, boxes, scores, (100, 100))
    assert found.xyxy.tolist() == [box, other]
    assert np.allclose(found.scores, [[0, 0.6, 0, 0.8], [0, 0, 0.3, 0]])
    assert len(decode(labels[:0], boxes[:0], scores[:0], (100, 100))) == 0


def test_order_does_not_depend_on_the_networks_order() -> None:
    decode = ExportDecoder(label_table(NAMES, None).membership())
    boxes = np.array([[5, 5, 9, 9], [1, 1, 3, 3], [4, 4, 6, 6]], np.float32)
    labels, scores = np.array([1, 1, 1]), np.array([0.5, 0.5, 0.5], np.float32)
    for order in ([0, 1, 2], [2, 0, 1]):
        assert decode(labels, boxes[order], scores, (10, 10)).xyxy.tolist() == [
            [1, 1, 3, 3],
            [4, 4, 6, 6],
            [5, 5, 9, 9],
        ]


def test_numbers_that_are_none_are_dropped() -> None:
    decode = ExportDecoder(label_table(NAMES, None).membership())
    boxes = np.array([[0, 0, np.nan, 5], [9, 9, 1, 1]], np.float32)
    found = decode(np.array([1, 1]), boxes, np.array([0.9, 0.8], np.float32), (10, 10))
    assert found.xyxy.tolist() == [[9, 9, 9, 9]]


def test_embeddings_are_those_of_the_queries_whose_boxes_are_kept() -> None:
    decode = QueryDecoder(label_table(NAMES, None).membership(), softmax=False)
    rng = np.random.default_rng(3)
    logits = rng.normal(-4, 3, (40, 5)).astype(np.float32)
    boxes = rng.uniform(0.3, 0.6, (40, 4)).astype(np.float32)
    hidden = rng.normal(size=(40, 96)).astype(np.float32)
    found, bare = decode(logits, boxes, (200, 100), hidden), decode(logits, boxes, (200, 100))
    assert (
        bare.embeddings is None
        and np.array_equal(found.xyxy, bare.xyxy)
        and np.array_equal(found.scores, bare.scores)
    )
    assert (
        found.embeddings is not None
        and found.embeddings.dtype == np.float16
        and found.embeddings.shape == (len(found), 32)
    )
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    corners = np.clip(
        np.concatenate([centre - half, centre + half], axis=1) * [200, 100, 200, 100],
        0,
        [200, 100, 200, 100],
    )
    source = np.abs(corners[None] - found.xyxy[:, None]).max(axis=2).argmin(axis=1)
    expected = hidden[source] @ projection(96)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert len(set(source.tolist())) == len(found) > 10
    assert np.abs(found.embeddings - expected).max() < 1e-3


def test_projection_keeps_angles_and_never_changes() -> None:
    columns = projection(96)
    assert columns.shape == (96, 32) and columns.dtype == np.float32
    assert np.abs(columns.T @ columns - np.eye(32)).max() < 1e-6
    assert columns.tobytes() == projection(96).tobytes()
    assert columns[0, :3] == pytest.approx([-0.068536, -0.013175, -0.09307], abs=1e-5)
    vectors = np.random.default_rng(1).normal(size=(200, 96))
    whole, reduced = (
        x / np.linalg.norm(x, axis=1, keepdims=True) for x in (vectors, vectors @ columns)
    )
    assert np.abs(whole @ whole.T - reduced @ reduced.T).mean() < 1 / np.sqrt(32)
    assert np.array_equal(projection(16), np.eye(16, dtype=np.float32))
