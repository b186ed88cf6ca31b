"""A worker that ends at a named point of a step as `kill -9` would end it: `python -m
tests.support.dying_worker POINT`.
"""

from __future__ import annotations

import os
import signal
import sys

from worker.main import main


def _die_at(point: str) -> None:
    if point == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main([], reached=_die_at)
