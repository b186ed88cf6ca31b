"""The environment that a process passes to a child: listed variables, without other secrets."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

_PATHS = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH")
"""Search paths for code: lists of folders."""


def inherited(names: Iterable[str], environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that a child inherits.

    Args:
        names: Names, or patterns such as `LC_*`; case-sensitive.
        environment: The parent's environment; default: this process's.

    Returns:
        The variables with these names. Parts of search paths that depend on the current folder are
        left out.
    """
    given = os.environ if environment is None else environment
    patterns = tuple(names)
    found = {
        name: value
        for name, value in given.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    cleaned = {
        name: absolute_parts(value) if name in _PATHS else value for name, value in found.items()
    }
    return {name: value for name, value in cleaned.items() if value or name not in _PATHS}


def absolute_parts(search_path: str) -> str:
    """Return a search path without empty and relative parts, which depend on the current folder."""
    return os.pathsep.join(part for part in search_path.split(os.pathsep) if os.path.isabs(part))
