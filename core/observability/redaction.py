"""Redaction of secrets in logs: those that this process was configured with, and similar texts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

from core.config.database import DatabaseSection
from core.config.storage import StorageSection
from core.config.webhooks import WebhookSection

HIDDEN = "***"

# Each pattern matches a prefix and a secret; only the secret is replaced.
_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"((?:AccountKey|SharedAccessKey|SharedAccessSignature|Password|Pwd)=)[^;\"'\s]+",
        r"((?:[?&;]|%3F|%26|\\u0026|\b)(?:sig|signature|ticket|token|key|api_key|access_token|secret)(?:=|%3D))[^&\"'\s\\;]+",
        r"(\bBearer\s+)[A-Za-z0-9._~+/=-]{8,}",
        r"(\bSharedKey\s+[a-z0-9]+:)[A-Za-z0-9+/=]+",
        r"(://[^:/@\s\"']*:)[^@/\s\"']+(?=@)",
        r"(\bmuster_[0-9a-f]{16}_)[A-Za-z0-9_-]{43}",
        r"(\bticket_)[A-Za-z0-9_-]{43}",
    )
)
_LEAST_LENGTH = 8
"""Shorter texts are not redacted, because that would hide ordinary words and protect nothing."""


def secrets_of(
    storage: StorageSection, database: DatabaseSection, webhooks: WebhookSection | None = None
) -> tuple[str, ...]:
    """Return the secrets that a process was configured with.

    They are the key or signature of the storage, the database's password and the webhooks' secret.
    """
    found = [
        part.partition("=")[2]
        for part in storage.storage_connection.split(";")
        if _names_secret(part.partition("=")[0])
    ]
    if database.mongo_uri:
        try:
            found.append(urlsplit(database.mongo_uri).password or "")
        except ValueError:
            # The value is not a URI, so all of it is hidden.
            found.append(database.mongo_uri)
    if webhooks is not None and webhooks.webhook_secret is not None:
        found.append(webhooks.webhook_secret.get_secret_value())
    return tuple(secret for secret in found if len(secret) >= _LEAST_LENGTH)


def _names_secret(name: str) -> bool:
    return name.strip().lower() in ("accountkey", "sharedaccesssignature")


class Redactor:
    """Replaces secrets in texts. Thread-safe.

    Args:
        secrets: Known secrets; their forms in JSON and in URLs are found, too.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        written = {
            form
            for secret in secrets
            for form in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""))
        }
        # The longest comes first, because one may be a part of another.
        self._known = sorted(written, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return a text without secrets."""
        for secret in self._known:
            text = text.replace(secret, HIDDEN)
        for pattern in _PATTERNS:
            text = pattern.sub(rf"\1{HIDDEN}", text)
        return text
