"""Files under the data folder are readable only by the user who runs Muster: customers' films lie
among them.
"""

from __future__ import annotations

import os

UMASK = 0o077


def keep_files_private() -> None:
    """Let files and folders that this process and its children make be read by their owner only.

    For the whole process: call it first.
    """
    os.umask(UMASK)
