"""The data folder of the current user, which the command line and the services share."""

from __future__ import annotations

import os
from pathlib import Path


def default_data_dir() -> Path:
    """Return the default data folder of the current user, such as `~/.local/share/muster`."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "muster"


def data_dir() -> Path:
    """Return the data folder named by `MUSTER_DATA_DIR` in the environment, or the default.

    For programs that read no configuration.
    """
    return Path(os.environ.get("MUSTER_DATA_DIR") or default_data_dir())
