"""The folder in which this user's programs keep data.

The command line of the engine and the services agree on it here.
"""

from __future__ import annotations

import os
from pathlib import Path


def default_data_dir() -> Path:
    """Return the folder under which this user's programs keep data, such as
    `~/.local/share/muster`.
    """
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "muster"


def data_dir() -> Path:
    """Return the folder that `MUSTER_DATA_DIR` names in the environment, or the default: for
    programs that read no configuration.
    """
    return Path(os.environ.get("MUSTER_DATA_DIR") or default_data_dir())
