"""A problem of a worker's machine, which the worker reports and `/health` shows."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class WorkerProblem(TypedDict):
    """A problem that the operator should solve.

    Attributes:
        code: For programs.
        message: A sentence for people.
        degrades: Whether it impedes work; absent: it does.
        folder: The folder whose disk is full.
        free_bytes: Free bytes on that disk.
    """

    code: str
    message: str
    degrades: NotRequired[bool]
    folder: NotRequired[str]
    free_bytes: NotRequired[int]
