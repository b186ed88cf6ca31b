"""Muster's version, which is defined in pyproject.toml only."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PROJECT = Path(__file__).parents[1] / "pyproject.toml"


@cache
def muster_version() -> str:
    """Return the version of the running code.

    Returns:
        The version of the source checkout, or else of the installed package, or else `unknown`.
    """
    # The checkout comes first, because a package of another version may be installed beside it.
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
