"""Private files: only the user who runs Muster may read the data folder, which holds videos."""

from __future__ import annotations

import os

UMASK = 0o077


def keep_files_private() -> None:
    """Make new files and folders of this process and its children readable by their owner only.

    It affects the whole process, so it must be called first.
    """
    os.umask(UMASK)
