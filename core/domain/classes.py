"""The classes that are counted.

The module does without pydantic, so that a command's usage text can list the classes at once.
"""

from __future__ import annotations

from typing import Literal, get_args

FourLegged = Literal["bison", "cattle"]
MusterClass = Literal["bison", "cattle", "person"]
FOUR_LEGGED: tuple[FourLegged, ...] = get_args(FourLegged)
CLASSES: tuple[MusterClass, ...] = get_args(MusterClass)
"""The classes in the order of all columns, tables and files."""
