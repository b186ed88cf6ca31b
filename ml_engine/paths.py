"""Where the engine keeps files of its own."""

from __future__ import annotations

from pathlib import Path

from core.data_folder import data_dir


def cache_dir() -> Path:
    """Return where converted networks are kept: under Muster's data folder, where the workers of `make run` keep theirs too."""
    return data_dir() / "cache" / "networks"
