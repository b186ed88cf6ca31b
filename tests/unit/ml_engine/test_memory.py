"""A setting of the whole process, so it is tried in another one."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_freed_memory_is_used_again() -> None:
    program = """
import resource
import numpy as np
from ml_engine.video.malloc import keep_freed_memory
assert keep_freed_memory() is True
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(6_000_000, np.uint8)
before = faults()
for _ in range(20):
    np.ones(6_000_000, np.uint8)
assert faults() - before < 2000, faults() - before
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
