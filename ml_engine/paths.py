"""Where the engine keeps files of its own."""

from __future__ import annotations

from pathlib import Path

from core.data_folder import data_dir


def cache_dir(data_folder: Path | None = None) -> Path:
    """Return where converted networks are kept, so that commands and workers of one data folder
    share them.

    Args:
        data_folder: Of a configuration. Default: that of `core.data_folder`.
    """
    return (data_folder or data_dir()) / "cache" / "networks"
