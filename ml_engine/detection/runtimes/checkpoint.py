"""Checkpoints on disk: found, checked to be safe and of a known kind, and fingerprinted.

This module starts no runtime.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core.errors import DetectorError, Unavailable
from ml_engine.detection.labels import (
    COCO_NAMES,
    DEFAULT_THRESHOLDS,
    SOFTMAX_THRESHOLDS,
    TABLE_FILE,
    LabelTable,
    label_table,
)
from ml_engine.detection.preprocessing import (
    CONFIG_FILE,
    Preprocessing,
    plain_preprocessing,
    read_preprocessing,
)
from ml_engine.detection.runtimes.openvino_package import load_openvino

ENGINE_VERSION = "2"
"""Version of preprocessing and post-processing.

It increases when a change affects the detections of every checkpoint. Jobs that were planned before
then end with `detector_changed`. A change that affects some checkpoints only goes into their
fingerprints.
"""

SIGMOID_MODELS = frozenset(
    (
        "conditional_detr",
        "d_fine",
        "dab-detr",
        "deformable_detr",
        "deimv2",
        "lw_detr",
        "rf_detr",
        "rt_detr",
        "rt_detr_v2",
    )
)
SOFTMAX_MODELS = frozenset(("detr", "table-transformer", "yolos"))
"""Model types of transformers whose scores are a softmax with a last class «nothing».

The scores of all other types are a sigmoid per label.
"""

_MOST_LABELS = 100_000
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on disk.

    Attributes:
        kind: `transformers` or `onnx`.
        path: The folder, or the `.onnx` file.
        fingerprint: SHA-256 (hex) over weights, configuration, label table, preprocessing and
            `ENGINE_VERSION`.
        table: Its labels.
        preprocessing: The steps from frames to its input.
        softmax: Whether scores are a softmax with a last class «nothing».
    """

    kind: Literal["transformers", "onnx"]
    path: Path
    fingerprint: str
    table: LabelTable
    preprocessing: Preprocessing
    softmax: bool = False


def open_checkpoint(source: str) -> Checkpoint:
    """Find and check a checkpoint.

    Args:
        source: Folder of a transformers checkpoint, folder or path of an `.onnx` file, or id of a
            model on the hub.

    Raises:
        DetectorError: Code `checkpoint_not_found`, `unsafe_weights`, `unknown_architecture`,
            `unknown_signature`, `bad_checkpoint`, `bad_preprocessing`, `bad_label_table` or
            `no_usable_label`.
        Unavailable: The model hub did not respond (code `model_hub_unavailable`).
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return _open_folder(path)
    if path.is_file():
        if path.suffix == ".onnx":
            return _open_onnx(path)
        raise DetectorError(
            f"'{path.name}' is not a checkpoint. Give an .onnx file or a folder with config.json.",
            code="checkpoint_not_found",
        )
    if path.suffix == ".onnx" or not _HUB_ID.fullmatch(source):
        raise DetectorError(
            f"There is no checkpoint '{source}' on this machine.", code="checkpoint_not_found"
        )
    return _open_folder(_from_hub(source))


def _open_folder(folder: Path) -> Checkpoint:
    if (folder / "config.json").is_file():
        return _open_transformers(folder)
    exports = sorted(folder.glob("*.onnx"))
    if len(exports) == 1:
        return _open_onnx(exports[0])
    problem = (
        "several .onnx files. Give the path of one"
        if exports
        else "neither config.json nor an .onnx file"
    )
    raise DetectorError(f"The folder '{folder.name}' holds {problem}.", code="checkpoint_not_found")


def _open_transformers(folder: Path) -> Checkpoint:
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise DetectorError(
            f"The checkpoint '{folder.name}' has no .safetensors weights. Other formats can run"
            " code when they are read. Convert the weights.",
            code="unsafe_weights",
        )
    config = read_config(folder)
    kind = config.get("model_type")
    if "auto_map" in config or kind not in SIGMOID_MODELS | SOFTMAX_MODELS:
        known = ", ".join(sorted(SIGMOID_MODELS | SOFTMAX_MODELS))
        raise DetectorError(
            f"'{folder.name}' is a model of type '{kind}'. Muster runs {known}.",
            code="unknown_architecture",
        )
    softmax = kind in SOFTMAX_MODELS or config.get("use_focal_loss") is False
    table = label_table(
        _label_names(config, folder), folder, SOFTMAX_THRESHOLDS if softmax else DEFAULT_THRESHOLDS
    )
    index = sorted(folder.glob("*.safetensors.index.json"))
    preprocessing = read_preprocessing(folder)
    files = [*weights, *index, folder / "config.json", folder / CONFIG_FILE, folder / TABLE_FILE]
    return Checkpoint(
        "transformers",
        folder,
        _fingerprint(files, table, preprocessing),
        table,
        preprocessing,
        softmax,
    )


def _open_onnx(path: Path) -> Checkpoint:
    folder = path.parent
    # Only a folder with one export describes that export. Beside several exports, a configuration
    # would be ambiguous.
    own = folder if len(list(folder.glob("*.onnx"))) == 1 else None
    described = own is not None and (own / CONFIG_FILE).is_file()
    preprocessing = (
        read_preprocessing(folder) if described else plain_preprocessing(onnx_input_hw(path))
    )
    names = COCO_NAMES
    if own is not None and (own / "config.json").is_file():
        names = _label_names(read_config(own), own)
    elif own is not None and (own / TABLE_FILE).is_file():
        names = _names_of_table(own, names)
    table = label_table(names, own)
    data = path.with_name(path.name + ".data")
    files = (
        [path, data]
        if own is None
        else [path, data, own / "config.json", own / CONFIG_FILE, own / TABLE_FILE]
    )
    return Checkpoint("onnx", path, _fingerprint(files, table, preprocessing), table, preprocessing)


def onnx_input_hw(path: Path) -> tuple[int, int]:
    """Return height and width of an export's `images`; 640 where the export leaves them open.

    Raises:
        DetectorError: It is not an ONNX file (code `bad_checkpoint`), or it has no such input
            (`unknown_signature`).
    """
    try:
        model = load_openvino().Core().read_model(path)
    except RuntimeError as error:
        message = f"'{path.name}' cannot be read as ONNX. Export it again."
        raise DetectorError(message, code="bad_checkpoint", reason=str(error)[:500]) from error
    check_signature(model, path.name)
    shape = model.input("images").get_partial_shape()
    height, width = (
        640 if shape[axis].is_dynamic else int(shape[axis].get_length()) for axis in (2, 3)
    )
    return height, width


def check_signature(model: Any, name: str) -> None:
    """Check that a network read by OpenVINO has the signature of RT-DETR, D-FINE and DEIM exports.

    Raises:
        DetectorError: It has another signature (code `unknown_signature`).
    """
    inputs = {next(iter(port.get_names()), ""): port.get_partial_shape() for port in model.inputs}
    outputs = {name for port in model.outputs for name in port.get_names()}
    wanted = {"labels", "boxes", "scores"}
    if (
        set(inputs) == {"images", "orig_target_sizes"}
        and wanted <= outputs
        and inputs["images"].rank.get_length() == 4
    ):
        return
    raise DetectorError(
        f"The inputs of '{name}' are ({', '.join(sorted(inputs))}) and its outputs"
        f" ({', '.join(sorted(outputs))}). Muster runs exports with inputs images and"
        " orig_target_sizes and outputs labels, boxes and scores, as RT-DETR, D-FINE and DEIM"
        " write them.",
        code="unknown_signature",
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Return a checkpoint's `config.json`.

    Raises:
        DetectorError: It is not a readable JSON object (code `bad_checkpoint`).
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DetectorError(
            f"config.json of '{folder.name}' is not readable JSON ({error}).", code="bad_checkpoint"
        ) from error
    if not isinstance(config, dict):
        raise DetectorError(
            f"config.json of '{folder.name}' is not an object.", code="bad_checkpoint"
        )
    return config


def _label_names(config: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    table = config.get("id2label")
    try:
        named = {int(index): str(label) for index, label in (table or {}).items()}
    except (AttributeError, ValueError) as error:
        raise DetectorError(
            f"id2label of '{folder.name}' does not number labels.", code="bad_checkpoint"
        ) from error
    if not named or min(named) < 0 or max(named) >= _MOST_LABELS:
        raise DetectorError(
            f"config.json of '{folder.name}' names no labels (id2label).", code="no_usable_label"
        )
    return tuple(named.get(index, "") for index in range(max(named) + 1))


def _names_of_table(folder: Path, default: tuple[str, ...]) -> tuple[str, ...]:
    """Return the labels of an export, which has no names of its own.

    Where the label table numbers the labels, those numbers are their names.
    """
    try:
        labels = json.loads((folder / TABLE_FILE).read_text(encoding="utf-8"))["labels"]
        numbers = [int(label) for label in labels]
    except (OSError, ValueError, KeyError, TypeError):
        return default
    usable = bool(numbers) and min(numbers) >= 0 and max(numbers) < _MOST_LABELS
    return tuple(str(index) for index in range(max(numbers) + 1)) if usable else default


def _fingerprint(files: list[Path], table: LabelTable, preprocessing: Preprocessing) -> str:
    total = hashlib.sha256(f"muster-detector-{ENGINE_VERSION}\n".encode())
    for path in files:
        if path.is_file():
            with path.open("rb") as stream:
                total.update(
                    f"{path.suffix} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode()
                )
    total.update(json.dumps([table.names, table.labels], sort_keys=True).encode())
    if preprocessing.multiple != 1 or not preprocessing.widens:
        # Earlier releases gave such a checkpoint other tensors.
        total.update(f"multiple {preprocessing.multiple}, widens {preprocessing.widens}".encode())
    return total.hexdigest()


def _from_hub(model_id: str) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    # Requests to the hub then reveal neither the installed packages nor the program.
    constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        return Path(snapshot_download(model_id, allow_patterns=["*.json", "*.safetensors"]))
    except (RepositoryNotFoundError, GatedRepoError, HFValidationError) as error:
        message = f"There is no folder '{model_id}' here and no such public model on the hub."
        raise DetectorError(message, code="checkpoint_not_found") from error
    except LocalEntryNotFoundError as error:
        if constants.HF_HUB_OFFLINE:
            message = (
                f"'{model_id}' is neither a folder nor a downloaded model, and downloads are"
                " switched off."
            )
            raise DetectorError(message, code="checkpoint_not_found") from error
        raise Unavailable(
            f"The model hub could not be reached for '{model_id}'.", code="model_hub_unavailable"
        ) from error
