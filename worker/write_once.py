"""Blobs that are written once: who comes second, with the same content, finds them and leaves them
as they are.

A worker that stood still, or has lost its lease without knowing, may write long after somebody else
has published. Its writes change nothing then, and whoever reads a large blob in pieces meanwhile
reads on.
"""

from __future__ import annotations

from pathlib import Path

from core.errors import PreconditionFailed
from core.ports import BlobInfo, BlobStore


async def put_once(
    store: BlobStore, name: str, data: bytes, *, content_type: str
) -> BlobInfo | None:
    """Write a blob unless it is there; return what this call wrote, None where the blob was there.

    Raises:
        Unavailable: Storage does not answer.
    """
    try:
        return await store.put(name, data, content_type=content_type, only_new=True)
    except PreconditionFailed:
        return None


async def put_file_once(
    store: BlobStore, name: str, path: Path, *, content_type: str
) -> BlobInfo | None:
    """Write a blob from a local file unless it is there. Returns and raises as `put_once`."""
    try:
        return await store.put_file(name, path, content_type=content_type, only_new=True)
    except PreconditionFailed:
        return None
