"""The mapping of the Azure SDK's errors to Muster's errors, for all adapters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import aiohttp
from azure.core.exceptions import AzureError, HttpResponseError

from core.errors import (
    Conflict,
    LeaseLost,
    MusterError,
    NotFound,
    PermanentError,
    PreconditionFailed,
    StorageFull,
    TooLarge,
    Unavailable,
    is_disk_full,
)

CONCURRENT_WRITE = "concurrent_write"
"""Code of `Unavailable` if another writer committed the blob, which discarded our blocks."""

_Make = Callable[[str, int | None], MusterError]


def _away(doing: str, status: int | None) -> MusterError:
    return Unavailable(f"Storage did not respond while {doing}. Try again in a few seconds.")


def _setting_up(doing: str, status: int | None) -> MusterError:
    return Unavailable(
        f"The container or queue was missing while {doing}. Restart the service, which creates it.",
        code="storage_not_ready",
    )


def _denied(doing: str, status: int | None) -> MusterError:
    return Unavailable(
        f"Storage refused our credentials while {doing}. The operator must check the connection "
        "string or the roles of the identity.",
        code="storage_access_denied",
    )


def _missing(doing: str, status: int | None) -> MusterError:
    return NotFound(f"The blob does not exist (while {doing}).", code="blob_not_found")


def _exists(doing: str, status: int | None) -> MusterError:
    return PreconditionFailed(
        f"A blob of that name exists already (while {doing}). Nothing was written.",
        code="blob_exists",
    )


def _changed(doing: str, status: int | None) -> MusterError:
    return PreconditionFailed(
        f"The blob has changed in the meantime (while {doing}). Read its current state and try "
        "again."
    )


def _outrun(doing: str, status: int | None) -> MusterError:
    return Unavailable(
        f"Another writer wrote the same blob while {doing}. Try again in a few seconds.",
        code=CONCURRENT_WRITE,
    )


def _lost(doing: str, status: int | None) -> MusterError:
    return LeaseLost(
        "Another worker has taken the message, or it no longer exists. Stop, and publish nothing."
    )


def _by_status(doing: str, status: int | None) -> MusterError:
    if status is None or status in (408, 429) or status >= 500:
        return _away(doing, status)
    if status in (401, 403):
        return _denied(doing, status)
    if status == 404:
        return _missing(doing, status)
    if status == 409:
        return Conflict(
            f"The blob's current state does not permit this (while {doing}).",
            code="storage_conflict",
        )
    if status in (304, 412):
        return _changed(doing, status)
    if status == 413:
        return TooLarge(f"Storage refused a request as too large while {doing}.")
    return PermanentError(f"Storage refused the request while {doing}.", code="storage_refused")


# The service's own code is more precise than the SDK's class or the status: 409 alone has five
# meanings.
_BY_CODE: dict[str, _Make] = {
    "BlobNotFound": _missing,
    "CannotVerifyCopySource": _by_status,
    "ContainerNotFound": _setting_up,
    "ContainerBeingDeleted": _setting_up,
    "QueueNotFound": _setting_up,
    "QueueBeingDeleted": _setting_up,
    "BlobAlreadyExists": _exists,
    "ConditionNotMet": _changed,
    "SourceConditionNotMet": _changed,
    "TargetConditionNotMet": _changed,
    "BlobModifiedWhileReading": _changed,
    "BlobOverwritten": _changed,
    "InvalidBlockList": _outrun,
    "InvalidBlobOrBlock": _outrun,
    "PopReceiptMismatch": _lost,
    "MessageNotFound": _lost,
    "PendingCopyOperation": _outrun,
    "SnapshotsPresent": _by_status,
}

# Classes are compared by name, because each SDK package has its own private copy of two of them.
BY_CLASS: dict[str, _Make] = {
    "AzureError": _away,
    "ServiceRequestError": _away,
    "ServiceRequestTimeoutError": _away,
    "ServiceResponseError": _away,
    "ServiceResponseTimeoutError": _away,
    "IncompleteReadError": _away,
    "StreamConsumedError": _away,
    "StreamClosedError": _away,
    "ResponseNotReadError": _away,
    "HttpResponseError": _by_status,
    "DecodeError": _away,
    "ODataV4Error": _by_status,
    "TooManyRedirectsError": _away,
    "PartialBatchErrorException": _by_status,
    "ResourceExistsError": _exists,
    "ResourceNotFoundError": _missing,
    "ResourceModifiedError": _changed,
    "ResourceNotModifiedError": _changed,
    "ClientAuthenticationError": _denied,
    "CredentialUnavailableError": _denied,
    "AuthenticationRequiredError": _denied,
    "AzureSigningError": _denied,
}


def error_code(error: AzureError) -> str:
    """Return the service's code, such as `BlobNotFound`; empty if there is none."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def map_error(error: AzureError, doing: str) -> MusterError:
    """Return Muster's error for an error of the SDK.

    Args:
        error: The SDK's error.
        doing: The operation, such as "reading the blob 'x'". The error's message contains it.

    Returns:
        The error to raise instead. An unknown error is transient, because work must not be
        abandoned for an unforeseen reason.
    """
    status = getattr(error, "status_code", None)
    make = _BY_CODE.get(error_code(error))
    if make is None:
        make = next(
            (BY_CLASS[c.__name__] for c in type(error).__mro__ if c.__name__ in BY_CLASS), _away
        )
    return make(doing, status)


@contextmanager
def mapped(doing: str) -> Iterator[None]:
    """Map errors that the SDK and its transport raise inside.

    The block must not run callbacks of a caller, because their errors must not be mapped.

    Args:
        doing: As in `map_error`.
    """
    try:
        yield
    except AzureError as error:
        raise map_error(error, doing) from error
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        # The transport passes some errors through while a body is being read.
        raise _away(doing, None) from error


@contextmanager
def creating(what: str, *accepted: str) -> Iterator[None]:
    """Map errors as `mapped` does while a container or queue is created.

    Args:
        what: The container or queue; part of the sentence.
        accepted: Codes of the service that are not errors, such as that of an existing container.

    Raises:
        Unavailable: Also if the storage does not know the account (code
            `storage_account_unknown`), as another Azurite on the port.
    """
    with mapped(f"creating {what}"):
        try:
            yield
        except HttpResponseError as error:
            if error_code(error) in accepted:
                return
            if error.status_code != 404 or error_code(error) in _BY_CODE:
                raise
            raise Unavailable(
                "The storage at this URL does not know the account of the connection string. "
                "Another Azurite may use the port. Stop it, then start the Azurite of this data "
                "folder with `python -m infra.storage`.",
                code="storage_account_unknown",
            ) from error


@contextmanager
def disk_full_mapped(doing: str) -> Iterator[None]:
    """Map a full disk to `StorageFull`; other errors of the file system pass through."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise StorageFull(f"The disk is full (while {doing}). Make room.") from error
        raise
