"""The data folder that the API and the workers of this machine find, by the same configuration: environment, or `.env`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.config.settings import Config
from core.data_folder import default_data_dir
from core.errors import InvalidInput


class _DataFolder(BaseSettings):
    # Not all of `Config`: it refuses a storage that is not there yet, and `make run` brings its own.
    model_config = SettingsConfigDict(**{**Config.model_config, "env_ignore_empty": True})

    data_dir: Path = Field(default_factory=default_data_dir)


def configured_data_dir() -> Path:
    """Return the data folder of the configuration. Reads `.env` where the process was started.

    Raises:
        InvalidInput: The path is not absolute: each process may be started elsewhere.
    """
    folder = _DataFolder().data_dir
    if not folder.is_absolute():
        raise InvalidInput(
            f"MUSTER_DATA_DIR is '{folder}'; give an absolute path, such as {folder.absolute()}"
        )
    return folder
