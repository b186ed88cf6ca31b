"""Links with which a client may write one blob, signed by an account key or a managed identity."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from azure.storage.blob import BlobSasPermissions, UserDelegationKey, generate_blob_sas
from azure.storage.blob.aio import BlobClient, BlobServiceClient

from core.adapters.azure.connection import account_of
from core.adapters.azure.errors import mapped
from core.errors import PermanentError

# Clocks differ: a link must work on a machine whose clock is behind ours.
_SAS_BACKDATE = timedelta(minutes=5)


class UploadLinks:
    """Signs links.

    Args:
        by_identity: Sign as the process's managed identity; otherwise with the account key.
    """

    def __init__(self, *, by_identity: bool) -> None:
        self._by_identity = by_identity
        self._delegation: UserDelegationKey | None = None
        self._delegation_until = datetime.min.replace(tzinfo=UTC)

    async def sign(
        self, service: BlobServiceClient, blob: BlobClient, *, valid_for: timedelta
    ) -> str:
        """Return a SAS link that may create and write a blob.

        Raises:
            PermanentError: There is no account key to sign with (code `upload_links_unavailable`).
            Unavailable: Storage provided no key to sign with.
        """
        now = datetime.now(UTC)
        if self._by_identity:
            delegated = await self._delegation_key(service, now + valid_for)
            account_key = None
        else:
            delegated, account_key = None, getattr(service.credential, "account_key", None)
        if not (delegated or account_key):
            raise PermanentError(
                "Direct uploads need a connection string with an account key, or "
                "AZURE_STORAGE_ACCOUNT_URL.",
                code="upload_links_unavailable",
            )
        sas = generate_blob_sas(
            account_name=blob.account_name or account_of(blob.url),
            container_name=blob.container_name,
            blob_name=blob.blob_name,
            # `create` alone permits no blocks, and large files need blocks.
            permission=BlobSasPermissions(create=True, write=True),
            start=now - _SAS_BACKDATE,
            expiry=now + valid_for,
            protocol="https" if urlsplit(blob.url).scheme == "https" else None,
            account_key=account_key,
            user_delegation_key=delegated,
        )
        return f"{blob.url}?{sas}"

    async def _delegation_key(
        self, service: BlobServiceClient, until: datetime
    ) -> UserDelegationKey:
        if self._delegation is None or self._delegation_until < until:
            good_until = until + timedelta(hours=1)
            start = datetime.now(UTC) - _SAS_BACKDATE
            with mapped("asking for a key to sign links with"):
                self._delegation = await service.get_user_delegation_key(start, good_until)
            self._delegation_until = good_until
        return self._delegation
