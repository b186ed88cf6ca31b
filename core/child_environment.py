"""The part of its environment that a process hands to a child: what the child's list names, without
the parent's secrets.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

_PATHS = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH")
"""Lists of folders that are searched for code."""


def inherited(names: Iterable[str], environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that a child inherits.

    Args:
        names: Names, or patterns such as `LC_*`. Case counts.
        environment: The parent's; default: this process's.

    Returns:
        The variables with these names, the search paths among them without parts that depend on the
        current folder.
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
    """Return a search path without empty and relative parts: both mean a folder that depends on
    where a process runs.
    """
    return os.pathsep.join(part for part in search_path.split(os.pathsep) if os.path.isabs(part))
