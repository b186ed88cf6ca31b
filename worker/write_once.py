"""Blobs that are written once. A second writer leaves the existing blob unchanged.

A worker that stalled, or that has lost its lease without noticing, may write long after another
worker has published. Its writes change nothing then. A reader that reads a large blob in pieces is
not disturbed.
"""

from __future__ import annotations

from pathlib import Path

from core.errors import PreconditionFailed
from core.ports import BlobInfo, BlobStore


async def put_once(
    store: BlobStore, name: str, data: bytes, *, content_type: str
) -> BlobInfo | None:
    """Write a blob unless it exists. Return the new blob's info, or None if the blob existed.

    Raises:
        Unavailable: Storage does not respond.
    """
    try:
        return await store.put(name, data, content_type=content_type, only_new=True)
    except PreconditionFailed:
        return None


async def put_file_once(
    store: BlobStore, name: str, path: Path, *, content_type: str
) -> BlobInfo | None:
    """Write a blob from a local file unless it exists. Returns and raises as `put_once`."""
    try:
        return await store.put_file(name, path, content_type=content_type, only_new=True)
    except PreconditionFailed:
        return None
