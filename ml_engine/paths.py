"""Paths of the engine's own files."""

from __future__ import annotations

from pathlib import Path

from core.data_folder import data_dir


def cache_dir(data_folder: Path | None = None) -> Path:
    """Return the folder of converted networks.

    Commands and workers with one data folder share it.

    Args:
        data_folder: Data folder of a configuration. Default: that of `core.data_folder`.
    """
    return (data_folder or data_dir()) / "cache" / "networks"
