"""Blobs that a step needs. If one is gone, the job fails at once and tells the user what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import NotFound, PermanentError, PreconditionFailed, VideoError
from core.ports import BlobStore


@contextmanager
def source_told(name: str) -> Iterator[None]:
    """Map errors of storage to refusals that name the submitted file.

    Args:
        name: The user's name of the file.

    Raises:
        VideoError: The file is not in storage (code `source_missing`), or differs from the
            submitted file (`source_changed`).
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
        PermanentError: The file is not in storage (code `results_missing`).
    """
    try:
        return await store.get(name)
    except NotFound as error:
        sentence = (
            f"'{name.rpartition('/')[2]}' of this attempt is no longer in storage. Retry the "
            "job to count it again."
        )
        raise PermanentError(sentence, code="results_missing") from error


async def read_if_stored(store: BlobStore, name: str) -> bytes | None:
    """Return a blob's content, or None if the blob does not exist."""
    try:
        return await store.get(name)
    except NotFound:
        return None
