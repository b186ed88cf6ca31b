"""The section of the webhooks."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from pydantic import SecretStr, field_validator

from core.config.variables import Section, variable
from core.domain.webhook import WebhookRules


class WebhookSection(Section):
    """How webhooks are signed and delivered."""

    title: ClassVar[str] = "Webhooks"

    webhook_secret: SecretStr | None = variable(
        None,
        "Key that signs webhooks, at least 16 characters. Without it no job may name a webhook.",
        secret=True,
    )
    webhook_http: bool = variable(False, "Accept webhooks without TLS (`http://`), too.")
    webhook_hours: float = variable(
        24, "How long Muster retries a webhook that does not answer.", unit="hours", gt=0
    )
    webhook_timeout_s: float = variable(
        10, "How long one attempt may take.", unit="seconds", gt=0, le=60
    )

    @field_validator("webhook_secret")
    @classmethod
    def _is_long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 16:
            raise ValueError(
                "MUSTER_WEBHOOK_SECRET is too short; take at least 16 random characters, "
                "such as `openssl rand -hex 32` gives"
            )
        return value

    @property
    def rules(self) -> WebhookRules:
        """The rules of webhooks for the use cases."""
        secret = self.webhook_secret.get_secret_value() if self.webhook_secret else None
        return WebhookRules(
            secret, self.webhook_http, timedelta(hours=self.webhook_hours), self.webhook_timeout_s
        )
