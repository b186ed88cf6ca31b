"""ONNX exports of checkpoints, with the signature of RT-DETR's, D-FINE's and DEIM's own exports."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from core.domain.classes import CLASSES
from core.errors import DetectorError

MOST_ROWS = 300


def write_onnx(folder: Path) -> Path:
    """Export a folder's checkpoint to `onnx/model.onnx`, with its label table and preprocessing.

    The export takes `images` (n, 3, h, w) float32 and `orig_target_sizes` (n, 2) int64 (width,
    height). It returns `labels` (n, rows) int64, `boxes` (n, rows, 4) xyxy px and `scores` (n,
    rows), best first.

    Returns:
        The file.

    Raises:
        DetectorError: The package `onnx` is missing (code `onnx_missing`), or the network cannot be
            exported (`conversion_failed`).
    """
    import torch
    from transformers import AutoModelForObjectDetection

    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise DetectorError(
            "ONNX exports need the package onnx. Install it, or train with --no-onnx.",
            code="onnx_missing",
        ) from error
    out = folder / "onnx"
    out.mkdir(exist_ok=True)
    size = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))["size"]
    network = AutoModelForObjectDetection.from_pretrained(folder, dtype=torch.float32).eval()
    example = (
        torch.rand(1, 3, size["height"], size["width"], generator=torch.Generator().manual_seed(0)),
        torch.tensor([[640, 480]]),
    )
    from ml_engine.detection.runtimes.torch_runtime import quiet

    try:
        with quiet(), torch.no_grad():
            torch.onnx.export(
                _exported(network),
                example,
                str(out / "model.onnx"),
                opset_version=17,
                dynamo=False,
                input_names=["images", "orig_target_sizes"],
                output_names=["labels", "boxes", "scores"],
            )
    except (RuntimeError, ValueError, TypeError, torch.onnx.errors.OnnxExporterError) as error:
        raise DetectorError(
            f"The checkpoint '{folder.name}' cannot be exported to ONNX.",
            code="conversion_failed",
            reason=str(error)[:500],
        ) from error
    shutil.copyfile(folder / "preprocessor_config.json", out / "preprocessor_config.json")
    table = json.loads((folder / "muster.json").read_text(encoding="utf-8"))
    # An export identifies classes by numbers.
    table["labels"] = {str(index): table["labels"][name] for index, name in enumerate(CLASSES)}
    (out / "muster.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    return out / "model.onnx"


def _exported(network: Any) -> Any:
    import torch

    class Exported(torch.nn.Module):
        """The network with the usual postprocessing of such exports."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(
            self, images: torch.Tensor, orig_target_sizes: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            output = self.network(pixel_values=images)
            classes = output.logits.shape[-1]
            every = output.logits.sigmoid().flatten(1)
            scores, places = torch.topk(every, min(MOST_ROWS, every.shape[1]), dim=1)
            centre, half = output.pred_boxes[..., :2], output.pred_boxes[..., 2:] / 2
            boxes = torch.cat([centre - half, centre + half], dim=-1) * orig_target_sizes.repeat(
                1, 2
            ).unsqueeze(1).to(centre.dtype)
            query = torch.div(places, classes, rounding_mode="floor")
            return places % classes, boxes.gather(1, query.unsqueeze(-1).expand(-1, -1, 4)), scores

    return Exported().eval()
