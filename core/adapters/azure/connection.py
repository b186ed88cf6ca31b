"""How the Azure adapters connect: endpoints, credentials, time-outs, retries."""

from __future__ import annotations

from typing import TypedDict
from urllib.parse import urlsplit

from azure.core.settings import settings
from azure.identity.aio import DefaultAzureCredential
from azure.storage.blob.aio import LinearRetry

from core.errors import InvalidInput

# The newest that the emulator knows; Azure keeps old ones for good.
_API_VERSION = "2025-11-05"
PING_S = 3
"""How long a ping waits for the answer: it serves health checks, which do not wait long themselves."""

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

    Two quick retries bridge a lost connection or a restart. A service that is away for longer is
    reported within seconds, and one that takes a request but does not answer after a single
    time-out: callers have their own back-off, and a person waits for the answer.

    Args:
        read_timeout_s: Longest silence of the service within a response.
    """
    return {
        "api_version": _API_VERSION,
        "connection_timeout": _CONNECT_S,
        "read_timeout": read_timeout_s,
        # The SDK declares whole seconds and computes with any.
        "retry_policy": LinearRetry(
            backoff=_RETRY_PAUSE_S,  # type: ignore[arg-type]
            random_jitter_range=0.2,  # type: ignore[arg-type]
            retry_total=2,
            retry_read=0,
        ),
    }


def trace_requests() -> None:
    """Make the SDK's requests spans.

    Its own choice of what to record of an address leaves out the values of a signature.
    """
    settings.tracing_enabled = True


def service_url(account_url: str, service: str) -> str:
    """Return the address of one service of an account, whichever service's address was configured.

    Args:
        account_url: Such as `https://herd.blob.core.windows.net`.
        service: `blob` or `queue`.

    Raises:
        InvalidInput: The address names no storage account.
    """
    scheme, _, rest = account_url.strip().rstrip("/").partition("://")
    account, _, domain = rest.partition(".")
    kind, _, suffix = domain.partition(".")
    if scheme != "https" or not account or kind not in ("blob", "queue") or "." not in suffix:
        raise InvalidInput(
            f"'{account_url}' is no storage account; AZURE_STORAGE_ACCOUNT_URL looks like https://<account>.blob.core.windows.net.",
            code="bad_storage_account_url",
        )
    return f"https://{account}.{service}.{suffix}"


def account_of(url: str) -> str:
    """Return the account's name, the first label of its host.

    The SDK finds it only in the domains of Azure's public clouds.
    """
    return (urlsplit(url).hostname or "").partition(".")[0]


def managed_identity() -> DefaultAzureCredential:
    """Return the process's identity, to be closed by whoever asked for it."""
    return DefaultAzureCredential()


def bad_connection_string(error: ValueError) -> InvalidInput:
    """Return the error for a connection string that the SDK cannot read; the string itself is a
    secret and is not repeated.
    """
    return InvalidInput(
        f"AZURE_STORAGE_CONNECTION_STRING cannot be read: {error}", code="bad_storage_connection"
    )
