"""The package as a user gets it: a wheel, and environments of their own to install it into."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

from tests.conftest import REPOSITORY, unavailable

UV = Path(sys.executable).with_name("uv")
_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


def clean_environment(**settings: str) -> dict[str, str]:
    """Return this process's environment without what leads Python to other packages."""
    kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    return {**kept, **settings}


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout with uv.

    Needs no network: the build back end is installed here.
    """
    argv: list[str | Path] = [
        UV,
        "build",
        "--quiet",
        "--wheel",
        "--offline",
        "--no-build-isolation",
    ]
    done = subprocess.run(
        [*argv, "--python", sys.executable, "--out-dir", folder, REPOSITORY],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("muster-*.whl")
    return wheel


def make_environment(folder: Path, *requirements: str | Path, is_locked: bool = True) -> Path:
    """Make a virtual environment, as `python3 -m venv` does, and install into it.

    Args:
        folder: Does not exist yet.
        requirements: Arguments of `uv pip install`.
        is_locked: Take the versions of requirements.lock; else the newest.

    Returns:
        The folder of its programs.
    """
    venv.create(folder, with_pip=False)
    argv: list[str | Path] = [UV, "pip", "install", "--quiet", "--python", folder / "bin/python"]
    argv += requirements
    if is_locked:
        argv += ["--constraints", REPOSITORY / "requirements.lock"]
    # uv's cache holds all locked packages after the first time. Before it, the configured index is
    # asked.
    for tried in ([*argv, "--offline"], argv) if is_locked else (argv,):
        done = subprocess.run(
            tried,
            capture_output=True,
            text=True,
            env=clean_environment(),
            cwd=REPOSITORY,
        )
        if done.returncode == 0:
            return folder / "bin"
    unavailable(f"the packages cannot be installed: {done.stderr.strip()[-1500:]}")
