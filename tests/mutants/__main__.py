"""`python -m tests.mutants [WORD …]`: take out each mechanism in a copy of the code, run its test,
and say whether that failed.

With words only the mutants whose name holds one of them. The last line says how many were not
noticed; status 1 if any.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from tests.conftest import REPOSITORY
from tests.mutants.mutant import Mutant
from tests.mutants.table import MUTANTS

COPIED = (
    "api",
    "core",
    "docs",
    "infra",
    "ml_engine",
    "tests",
    "worker",
    "Makefile",
    "docker-compose.yml",
    "pyproject.toml",
    "ARCHITECTURE.md",
    "README.md",
    "requirements.txt",
)
LONGEST_S = 1500
FAILED = 1
"""What pytest returns where a test has failed; everything else means that none was run, or that all
passed.
"""


@contextmanager
def copy_of_the_code() -> Iterator[Path]:
    """Make a copy that may be changed; environment and servers are this checkout's."""
    folder = Path(tempfile.mkdtemp(prefix="muster-mutants-"))
    try:
        for name in COPIED:
            source = REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, folder / name)
        (folder / ".venv").symlink_to(REPOSITORY / ".venv")
        yield folder
    finally:
        shutil.rmtree(folder)


def is_noticed(mutant: Mutant, folder: Path) -> tuple[bool, str]:
    """Run a mutant's test on the code without the mechanism.

    Returns:
        Whether the test failed, and what pytest said last.
    """
    path = folder / mutant.file
    text = path.read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1, f"{mutant.file} has changed: {mutant.name}"
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "CI": "true"}
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "--no-header",
        "-p",
        "no:cacheprovider",
        mutant.test,
    ]
    try:
        done = subprocess.run(
            argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST_S
        )
    finally:
        path.write_text(text, encoding="utf-8")
    return done.returncode == FAILED, told(done.stdout)


def told(output: str) -> str:
    """Return the line in which pytest names the failure, or its last one."""
    lines = output.strip().splitlines() or [""]
    failed = [line for line in lines if re.match(r"(FAILED|ERROR) tests/", line)]
    return (failed or lines[-1:])[0][:200]


def main(words: list[str]) -> int:
    """Return how many were not noticed, 1 at most."""
    console = Console(soft_wrap=True, highlight=False)
    chosen = [
        mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)
    ]
    survivors = 0
    with copy_of_the_code() as folder:
        for mutant in chosen:
            began = time.monotonic()
            noticed, how = is_noticed(mutant, folder)
            survivors += not noticed
            mark = "noticed" if noticed else "NOT NOTICED"
            console.print(
                f"{mark}: {mutant.name} ({time.monotonic() - began:.0f} s)\n    {how}", markup=False
            )
    print(f"{len(chosen)} mechanisms taken out, {survivors} not noticed", flush=True)
    return min(survivors, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
