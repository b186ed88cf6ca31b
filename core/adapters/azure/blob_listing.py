"""The service's listings of blobs: names, properties and pages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from azure.core.async_paging import AsyncItemPaged
from azure.storage.blob import BlobProperties

from core.adapters.azure.errors import mapped
from core.ports import BlobInfo

_NEVER_OLD = datetime.max.replace(tzinfo=UTC)


def is_usable(name: str) -> bool:
    """Return whether a blob name is valid and cannot be mistaken for the name of another blob."""
    return (
        0 < len(name) <= 1024
        and "\\" not in name
        and not any(part in ("", ".", "..") for part in name.split("/"))
    )


def blob_info(properties: BlobProperties) -> BlobInfo:
    """Return the port's description of a blob."""
    return BlobInfo(
        name=properties.name,
        size_bytes=properties.size,
        etag=(properties.etag or "").strip('"'),
        content_type=properties.content_settings.content_type or "application/octet-stream",
        # For a blob that has only staged blocks, the service possibly reports no age. Such a blob
        # never counts as old. The service deletes staged blocks after a week.
        modified_at_utc=properties.last_modified.astimezone(UTC)
        if properties.last_modified
        else _NEVER_OLD,
    )


async def one_page(
    listed: AsyncItemPaged[Any], cursor: str | None, doing: str
) -> tuple[list[Any], str | None]:
    """Return the page at a cursor, and the cursor of the next page, if there is one."""
    pages: Any = listed.by_page(cursor)
    with mapped(doing):
        items = [item async for item in await anext(pages)]
    return items, pages.continuation_token or None
