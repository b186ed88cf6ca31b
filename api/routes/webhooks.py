"""The secret that signs a caller's webhooks."""

from __future__ import annotations

from fastapi import APIRouter

from api.access import CallerDep
from api.document import documented
from api.services import AnyServices
from api.webhook_views import WebhookSecret
from core.domain.webhook import webhooks_off

router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"])


@router.post(
    "/secret",
    responses=documented(webhooks_off()),
    summary="Get the secret that signs your webhooks",
)
async def get_webhook_secret(services: AnyServices, caller: CallerDep) -> WebhookSecret:
    """Returns the owner's secret, which never changes.

    The method is POST so that no cache stores the secret and no page links to it.
    """
    secret = services.webhooks.secret_of(caller.owner)
    if secret is None:
        raise webhooks_off()
    return WebhookSecret(secret=secret)
