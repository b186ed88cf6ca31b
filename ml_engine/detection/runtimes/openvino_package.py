"""The only import of OpenVINO, with its usage reports switched off."""

from __future__ import annotations

import sys
from typing import Any


def load_openvino() -> Any:
    """Import OpenVINO without its usage reports; return the package.

    OpenVINO requires `openvino_telemetry`, so every installation has it. Loading that package
    writes a client id into the user's home folder and sends an event to an analytics service. This
    function sets its entry in `sys.modules` to None. The import of `openvino_telemetry` then fails,
    and OpenVINO uses a stub of its own instead.
    """
    # Python documents that None prevents an import, but the type stubs of `sys` do not allow None.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino
