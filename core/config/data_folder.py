"""The section of the data folder, which the API and the workers of one machine share."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import field_validator

from core.config.variables import Section, variable
from core.data_folder import default_data_dir


class DataSection(Section):
    """The folder under which this machine's processes keep data."""

    title: ClassVar[str] = "Data folder"

    data_dir: Path = variable(
        default_data_dir,
        "Folder of the SQLite file, of caches and of the data of `make run`. "
        "An absolute path on a local disk.",
        default_text="~/.local/share/muster",
        also=("count",),
    )

    @field_validator("data_dir")
    @classmethod
    def _is_absolute(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError(
                f"MUSTER_DATA_DIR is '{value}'; give an absolute path, such as {value.absolute()}, "
                "so that every process means the same folder"
            )
        return value
