"""The only import of OpenVINO, with its usage reports switched off."""

from __future__ import annotations

import sys
from typing import Any


def load_openvino() -> Any:
    """Import OpenVINO without its usage reports; return the package.

    OpenVINO requires `openvino_telemetry`, so every installation has it. Loading that package
    writes a client id into the user's home folder and sends an event to an analytics service. With
    None in its place its import fails, and OpenVINO uses its own stub instead.
    """
    # Python documents that None prevents an import. Its type stubs do not know it.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino
