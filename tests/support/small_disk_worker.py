"""A real worker, with an engine that only pretends, on a disk that takes no long file: `python -m
tests.support.small_disk_worker BYTES`.

A write beyond the limit fails as it does on a full disk; no rights are needed for that, unlike for
a small file system.
"""

from __future__ import annotations

import logging
import os
import resource
import sys

import worker.main
from tests.support.quick_worker import quick_engine

if __name__ == "__main__":
    limit_bytes = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    vars(worker.main)["real_engine"] = quick_engine
    status = worker.main.main([])
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)
