"""Muster's version. It stands in pyproject.toml and nowhere else."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PROJECT = Path(__file__).parents[1] / "pyproject.toml"


@cache
def muster_version() -> str:
    """Return the version of the code that runs.

    Returns:
        That of the source checkout, else that of the installed package, else `unknown`.
    """
    # The checkout comes first: a package of another version may be installed beside it.
    try:
        project = tomllib.loads(_PROJECT.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == "muster":
            return str(project["version"])
    except (OSError, ValueError, KeyError):
        pass
    try:
        return version("muster")
    except PackageNotFoundError:
        return "unknown"
