"""Direct uploads: large files go straight into blob storage."""

from __future__ import annotations

from fastapi import APIRouter

from api.access import CallerDep
from api.problems import documented
from api.services import OpenServices
from api.views import UploadRequest, UploadView

router = APIRouter(prefix="/api/v1/uploads", tags=["jobs"])


@router.post(
    "",
    status_code=201,
    responses=documented(400, 413, 422, 429, 503),
    summary="Get a link for a direct upload",
)
async def create_upload(
    services: OpenServices, caller: CallerDep, asked: UploadRequest | None = None
) -> UploadView:
    """Put the file, video or telemetry, to `url`, then submit a job with its `upload_id`. The link works for this one file, for minutes."""
    link = await services.uploads.create(
        owner=caller.owner, size_bytes=asked.size_bytes if asked else None
    )
    return UploadView(
        upload_id=link.upload_id,
        url=link.url,
        method=link.method,
        headers=link.headers,
        expires_at_utc=link.expires_at_utc,
    )
