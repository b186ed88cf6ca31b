"""Conversion of transformers checkpoints for OpenVINO, once per machine; the results are stored."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from core.errors import DetectorError, StorageFull, is_disk_full
from ml_engine.detection.runtimes.checkpoint import Checkpoint
from ml_engine.detection.runtimes.openvino_package import load_openvino

_FORMAT = "2"
"""Version of the outputs of converted networks. Networks of another version are not used."""
_TOOLS = ("openvino", "timm", "torch", "transformers")
REFUSED = "conversion_failed"
"""Error code of a checkpoint that OpenVINO cannot run although torch can."""
SAY_EVERY_S = 15.0

logger = logging.getLogger(__name__)


def converted_network(
    checkpoint: Checkpoint,
    cache_dir: Path,
    *,
    batch_size: int,
    input_hw: tuple[int, int],
    heed_notes: bool,
) -> Path:
    """Return a checkpoint's network in OpenVINO's format; convert it if that was not done before.

    Several processes may do so at the same time. Each writes its own folder, and the first folder
    that is renamed into place serves all.

    Args:
        checkpoint: A transformers checkpoint.
        cache_dir: Folder of converted networks; made if missing.
        batch_size, input_hw: Shape of the input. It is fixed, because tracing would freeze it
            anyway and OpenVINO is faster with it.
        heed_notes: Do not retry a conversion that failed before with the same weights and versions.

    Returns:
        Path of the `.xml`. The network takes pixels (and, for padded input, the mask), and gives
        logits, boxes and the decoder's last hidden state.

    Raises:
        DetectorError: The network cannot be loaded or run (code `bad_checkpoint`), or not be
            converted (`REFUSED`).
        StorageFull: The cache folder cannot be written.
    """
    target = cache_dir / "openvino" / _key(checkpoint, batch_size, input_hw)
    if heed_notes and (reason := _noted(target)) is not None:
        raise refusal(checkpoint, reason, remembered=True)
    if not (target / "model.xml").is_file():
        from ml_engine.detection.runtimes.torch_runtime import LOADING

        with LOADING:
            if not (target / "model.xml").is_file():
                with _saying_so(checkpoint.path.name):
                    try:
                        store_network(_convert(checkpoint, batch_size, input_hw), target)
                    except DetectorError as error:
                        if error.code == REFUSED:
                            note_refusal(target, error.details["reason"])
                        raise
    return target / "model.xml"


def refusal(checkpoint: Checkpoint, reason: str, *, remembered: bool = False) -> DetectorError:
    """Return the error of a checkpoint that OpenVINO cannot run."""
    return DetectorError(
        f"OpenVINO cannot run the checkpoint '{checkpoint.path.name}' ({reason[:200]})."
        " Use device auto, torch or cuda.",
        code=REFUSED,
        reason=reason,
        remembered=remembered,
    )


def note_refusal(target: Path, reason: str) -> None:
    """Store, beside a converted network's folder, why OpenVINO cannot run the network.

    The next start then does not retry, which would take a minute.
    """
    # A missing note is harmless: the next start retries.
    with suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_name(f".note-{os.getpid()}-{threading.get_ident()}")
        scratch.write_text(json.dumps({"reason": reason}), encoding="utf-8")
        os.replace(scratch, _note(target))


def forget_refusal(target: Path) -> None:
    """Remove a note that is no longer true."""
    with suppress(OSError):
        _note(target).unlink(missing_ok=True)


def _note(target: Path) -> Path:
    return target.with_name(target.name + ".refused.json")


def _noted(target: Path) -> str | None:
    try:
        return str(json.loads(_note(target).read_text(encoding="utf-8"))["reason"])
    except (OSError, ValueError, KeyError, TypeError):  # no note, or an incomplete one: retry
        return None


@contextmanager
def _saying_so(name: str) -> Iterator[None]:
    """Log the start, the progress and the end of a conversion."""
    started, done = time.monotonic(), threading.Event()

    def seconds() -> float:
        return round(time.monotonic() - started, 1)

    def repeat() -> None:
        while not done.wait(SAY_EVERY_S):
            said = f"'{name}' is still being converted for OpenVINO, {seconds():.0f} s so far."
            logger.info(
                said,
                extra={"action": "detector_converting", "checkpoint": name, "seconds": seconds()},
            )

    logger.info(
        f"Converting '{name}' for OpenVINO. This takes up to a few minutes, once per machine"
        " and input size.",
        extra={"action": "detector_converting", "checkpoint": name, "seconds": 0.0},
    )
    voice = threading.Thread(target=repeat, name="conversion", daemon=True)
    voice.start()
    try:
        yield
    finally:
        done.set()
        voice.join()
    said = f"Converted '{name}' for OpenVINO in {seconds():.0f} s. The result is stored."
    logger.info(
        said, extra={"action": "detector_converted", "checkpoint": name, "seconds": seconds()}
    )


def _key(checkpoint: Checkpoint, batch_size: int, input_hw: tuple[int, int]) -> str:
    versions = [f"{tool} {importlib.metadata.version(tool)}" for tool in _TOOLS]
    facts = "\n".join([_FORMAT, checkpoint.fingerprint, *versions])
    digest = hashlib.sha256(facts.encode()).hexdigest()[:24]
    return f"{digest}-{batch_size}x{input_hw[0]}x{input_hw[1]}"


def _convert(checkpoint: Checkpoint, batch_size: int, input_hw: tuple[int, int]) -> Any:
    import torch

    from ml_engine.detection.runtimes.torch_runtime import (
        example_inputs,
        plain_network,
        quiet,
        try_out,
    )

    openvino = load_openvino()
    network = plain_network(checkpoint.path)
    example = example_inputs(checkpoint, batch_size, input_hw)
    fix_positions = _remember_positions(network)
    # A network that does not run at all is the checkpoint's fault. No other device would run it.
    try_out(network, example, checkpoint.path)
    fix_positions()
    try:
        with quiet(), torch.inference_mode():
            model = openvino.convert_model(network, example_input=tuple(example))
            model.reshape({index: list(tensor.shape) for index, tensor in enumerate(example)})
    except (RuntimeError, ValueError, TypeError, openvino.frontend.OpConversionFailure) as error:
        raise refusal(checkpoint, str(error)[:500]) from error
    return model


def _remember_positions(network: Any) -> Callable[[], None]:
    """Record the position embeddings of the next run; the returned function makes them constants.

    They depend on the input's size alone. OpenVINO enlarges them with another bicubic filter than
    torch, which moves boxes by whole pixels.
    """
    modules = [
        module for module in network.modules() if hasattr(module, "interpolate_pos_encoding")
    ]
    kept: dict[int, Any] = {}

    def keeping(place: int, interpolate: Callable[..., Any]) -> Callable[..., Any]:
        def keep(*given: Any, **options: Any) -> Any:
            kept[place] = interpolate(*given, **options)
            return kept[place]

        return keep

    for place, module in enumerate(modules):
        module.interpolate_pos_encoding = keeping(place, module.interpolate_pos_encoding)

    def fix() -> None:
        for place, module in enumerate(modules):
            if place in kept:
                module.interpolate_pos_encoding = lambda *given, value=kept[place], **options: value

    return fix


def store_network(model: Any, target: Path) -> None:
    """Write a network into a folder that appears complete or not at all.

    If another process was first, its folder stays.

    Raises:
        StorageFull: There is no space for it.
        DetectorError: The folder cannot be written to (code `cache_not_writable`). A retry would
            not help.
    """
    openvino = load_openvino()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
    except OSError as error:
        raise _not_kept(error) from error
    try:
        openvino.save_model(model, scratch / "model.xml", compress_to_fp16=False)
        os.replace(scratch, target)
    except OSError as error:
        if not (target / "model.xml").is_file():  # else another process was first
            raise _not_kept(error) from error
    except RuntimeError as error:
        raise StorageFull(
            "Converted detectors cannot be stored. The disk may be full.", code="cache_not_writable"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _not_kept(error: OSError) -> StorageFull | DetectorError:
    if is_disk_full(error):
        return StorageFull(
            "Converted detectors cannot be stored because the disk is full. Free some space."
        )
    return DetectorError(
        f"Converted detectors cannot be stored: {error.strerror}."
        " Set MUSTER_DATA_DIR to a writable folder.",
        code="cache_not_writable",
    )
