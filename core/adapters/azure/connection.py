"""Connections of the Azure adapters: endpoints, credentials, time-outs, retries."""

from __future__ import annotations

from typing import TypedDict
from urllib.parse import urlsplit

from azure.core.settings import settings
from azure.identity.aio import DefaultAzureCredential
from azure.storage.blob.aio import LinearRetry

from core.errors import InvalidInput

# The newest version that the emulator supports. Azure supports old versions permanently.
_API_VERSION = "2025-11-05"
PING_S = 3
"""Seconds that a ping waits for the response. Health checks use it, and must respond quickly
themselves.
"""

_CONNECT_S = 3
_RETRY_PAUSE_S = 0.5


class ClientOptions(TypedDict):
    """Options of a client of either SDK package."""

    api_version: str
    connection_timeout: int
    read_timeout: float
    retry_policy: LinearRetry


def client_options(*, read_timeout_s: float) -> ClientOptions:
    """Return options for a client of either SDK package.

    Two quick retries cover a lost connection or a restart. A service that is down for longer is
    reported within seconds. A service that accepts a request but does not respond is reported after
    one time-out. Callers have their own back-off, and a user may be waiting for the response.

    Args:
        read_timeout_s: Longest silence of the service within a response.
    """
    return {
        "api_version": _API_VERSION,
        "connection_timeout": _CONNECT_S,
        "read_timeout": read_timeout_s,
        # The SDK declares whole seconds but accepts fractions.
        "retry_policy": LinearRetry(
            backoff=_RETRY_PAUSE_S,  # type: ignore[arg-type]
            random_jitter_range=0.2,  # type: ignore[arg-type]
            retry_total=2,
            retry_read=0,
        ),
    }


def trace_requests() -> None:
    """Turn the SDK's requests into spans.

    By default the SDK leaves the values of a signature out of the recorded URL.
    """
    settings.tracing_enabled = True


def service_url(account_url: str, service: str) -> str:
    """Return the URL of one service of an account, whichever service's URL was configured.

    Args:
        account_url: For example `https://herd.blob.core.windows.net`.
        service: `blob` or `queue`.

    Raises:
        InvalidInput: The URL is not that of a storage account.
    """
    scheme, _, rest = account_url.strip().rstrip("/").partition("://")
    account, _, domain = rest.partition(".")
    kind, _, suffix = domain.partition(".")
    if scheme != "https" or not account or kind not in ("blob", "queue") or "." not in suffix:
        raise InvalidInput(
            f"'{account_url}' is not the URL of a storage account. AZURE_STORAGE_ACCOUNT_URL looks "
            "like https://<account>.blob.core.windows.net.",
            code="bad_storage_account_url",
        )
    return f"https://{account}.{service}.{suffix}"


def account_of(url: str) -> str:
    """Return the account's name, which is the first label of the URL's host.

    The SDK finds it only in the domains of Azure's public clouds.
    """
    return (urlsplit(url).hostname or "").partition(".")[0]


def managed_identity() -> DefaultAzureCredential:
    """Return the process's managed identity, which the caller must close."""
    return DefaultAzureCredential()


def bad_connection_string(error: ValueError) -> InvalidInput:
    """Return the error for a connection string that the SDK cannot read.

    The string itself is a secret and is not repeated.
    """
    return InvalidInput(
        f"AZURE_STORAGE_CONNECTION_STRING cannot be read: {error}", code="bad_storage_connection"
    )
