"""Converted networks that test stacks share: converting one takes longer than all else that most of
them do.
"""

from __future__ import annotations

import sys
from pathlib import Path


def kept_networks() -> Path:
    """Return a folder beside the interpreter for converted networks, which may be there from
    before.

    A network's folder in it is named after the checkpoint's content and the versions of all that
    took part in its making, and appears
    complete or not at all: whoever shares it finds what they would have made. Tests of the
    conversion itself keep theirs elsewhere.
    """
    kept = Path(sys.prefix) / "test-networks"
    kept.mkdir(exist_ok=True)
    return kept


def share_networks(data_dir: Path) -> None:
    """Let whatever has this data folder, a new one, keep its converted networks where others find
    them.

    Args:
        data_dir: `MUSTER_DATA_DIR`; made if missing.
    """
    networks = data_dir / "cache" / "networks"
    networks.parent.mkdir(parents=True)
    networks.symlink_to(kept_networks(), target_is_directory=True)
