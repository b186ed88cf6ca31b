"""The secret with which a caller's webhooks are signed."""

from __future__ import annotations

from fastapi import APIRouter

from api.access import CallerDep
from api.problems import documented
from api.services import AnyServices
from api.webhook_views import WebhookSecret
from core.domain.webhook import webhooks_off

router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"])


@router.post(
    "/secret", responses=documented(422), summary="Show the secret of your webhooks' signatures"
)
async def show_secret(services: AnyServices, caller: CallerDep) -> WebhookSecret:
    """Always the same for the same owner, and another one for each. A POST, so that no cache keeps it and no page links to it."""
    secret = services.webhooks.secret_of(caller.owner)
    if secret is None:
        raise webhooks_off()
    return WebhookSecret(secret=secret)
