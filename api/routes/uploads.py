"""Direct uploads: large files go straight into blob storage."""

from __future__ import annotations

from fastapi import APIRouter

from api.access import CallerDep
from api.document import EXAMPLE_QUOTA, EXAMPLE_UPLOAD_LIMIT, documented
from api.services import OpenServices
from api.views import UploadRequest, UploadView
from core.domain.refusals import invalid_request, malformed_json, quota_jobs, video_too_large

router = APIRouter(prefix="/api/v1/uploads", tags=["uploads"])


@router.post(
    "",
    status_code=201,
    responses=documented(
        malformed_json("Expecting value"),
        video_too_large(EXAMPLE_UPLOAD_LIMIT),
        invalid_request([("body.size_bytes", "Input should be greater than or equal to 0")]),
        quota_jobs(EXAMPLE_QUOTA, retry_after_s=60),
    ),
    summary="Create a link for a direct upload",
)
async def create_upload(
    services: OpenServices, caller: CallerDep, asked: UploadRequest | None = None
) -> UploadView:
    """Returns a link for one file, a video or telemetry.

    Send the file to `url`, then submit a job with its `upload_id`. The link expires after minutes.
    """
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
