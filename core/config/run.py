"""The section of `make run`."""

from __future__ import annotations

from typing import ClassVar

from core.config.data_folder import DataSection
from core.config.variables import variable


class RunSection(DataSection):
    """What `make run` needs to know itself."""

    title: ClassVar[str] = "make run"

    port: int = variable(
        8000, "Port of 127.0.0.1 on which `make run` serves the API.", ge=1, le=65535
    )
