"""Blobs that a step needs and that are gone: the job fails at once, and says which they are and
what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import NotFound, PermanentError, PreconditionFailed, VideoError
from core.ports import BlobStore


@contextmanager
def source_told(name: str) -> Iterator[None]:
    """Say of a file of the submission that it is gone, or is another one.

    Args:
        name: What the user called the file.

    Raises:
        VideoError: It is not in storage (code `source_missing`), or not as it was submitted
            (`source_changed`).
    """
    try:
        yield
    except NotFound as error:
        raise VideoError(
            f"The file '{name}' is no longer in storage. Submit it again.", code="source_missing"
        ) from error
    except PreconditionFailed as error:
        sentence = (
            f"The file '{name}' in storage is not the one that was submitted. Submit it again."
        )
        raise VideoError(sentence, code="source_changed") from error


async def read_result(store: BlobStore, name: str) -> bytes:
    """Return a file that an earlier step of the attempt has written.

    Raises:
        PermanentError: It is not in storage (code `results_missing`).
    """
    try:
        return await store.get(name)
    except NotFound as error:
        sentence = f"'{name.rpartition('/')[2]}' of this attempt is no longer in storage. Retry the job: it counts again."
        raise PermanentError(sentence, code="results_missing") from error


async def read_if_stored(store: BlobStore, name: str) -> bytes | None:
    """Return a blob's content, or None if there is none."""
    try:
        return await store.get(name)
    except NotFound:
        return None
