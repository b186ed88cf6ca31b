"""Every error of the Azure SDK becomes one of Muster's."""

from __future__ import annotations

from collections.abc import Iterator

import aiohttp
import azure.identity.aio
import azure.storage.blob.aio
import azure.storage.queue.aio
import pytest
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
)

from core.adapters.azure.connection import service_url
from core.adapters.azure.errors import BY_CLASS, disk_full_mapped, map_error, mapped
from core.errors import (
    Conflict,
    InvalidInput,
    LeaseLost,
    MusterError,
    NotFound,
    PermanentError,
    PreconditionFailed,
    StorageFull,
    TooLarge,
    Unavailable,
)

# Imported for their errors, which are subclasses only once they are loaded.
SDK = (azure.identity.aio, azure.storage.blob.aio, azure.storage.queue.aio)


def subclasses(of: type[AzureError]) -> Iterator[type[AzureError]]:
    yield of
    for cls in of.__subclasses__():
        yield from subclasses(cls)


def http_error(
    status: int, code: str | None = None, cls: type[HttpResponseError] = HttpResponseError
) -> HttpResponseError:
    error = cls("from the service")
    error.status_code = status
    if code:
        vars(error)["error_code"] = code
    return error


def test_every_class_of_the_sdk_is_mapped_by_name() -> None:
    # A new release of the SDK may add one; somebody has to decide what it means.
    found = {cls.__name__ for cls in subclasses(AzureError) if cls.__module__.startswith("azure.")}
    assert found == BY_CLASS.keys()


@pytest.mark.parametrize(
    ("status", "code", "cls", "want", "want_code"),
    [
        (404, "BlobNotFound", ResourceNotFoundError, NotFound, "blob_not_found"),
        (404, "ContainerNotFound", ResourceNotFoundError, Unavailable, "storage_not_ready"),
        (404, "QueueNotFound", ResourceNotFoundError, Unavailable, "storage_not_ready"),
        (409, "ContainerBeingDeleted", ResourceExistsError, Unavailable, "storage_not_ready"),
        (409, "BlobAlreadyExists", ResourceExistsError, PreconditionFailed, "blob_exists"),
        (409, "SnapshotsPresent", ResourceExistsError, Conflict, "storage_conflict"),
        (409, "LeaseIdMissing", HttpResponseError, Conflict, "storage_conflict"),
        (412, "ConditionNotMet", HttpResponseError, PreconditionFailed, "precondition_failed"),
        (412, None, HttpResponseError, PreconditionFailed, "precondition_failed"),
        (304, None, HttpResponseError, PreconditionFailed, "precondition_failed"),
        (400, "InvalidBlockList", HttpResponseError, Unavailable, "concurrent_write"),
        (400, "PopReceiptMismatch", HttpResponseError, LeaseLost, "lease_lost"),
        (404, "MessageNotFound", ResourceNotFoundError, LeaseLost, "lease_lost"),
        (400, "InvalidHeaderValue", HttpResponseError, PermanentError, "storage_refused"),
        (413, "RequestBodyTooLarge", HttpResponseError, TooLarge, "too_large"),
        (401, None, HttpResponseError, Unavailable, "storage_access_denied"),
        (403, "AuthenticationFailed", HttpResponseError, Unavailable, "storage_access_denied"),
        (403, "CannotVerifyCopySource", HttpResponseError, Unavailable, "storage_access_denied"),
        (408, None, HttpResponseError, Unavailable, "unavailable"),
        (429, None, HttpResponseError, Unavailable, "unavailable"),
        (500, "InternalError", HttpResponseError, Unavailable, "unavailable"),
        (503, "ServerBusy", HttpResponseError, Unavailable, "unavailable"),
    ],
)
def test_answers_of_the_service(
    status: int, code: str | None, cls: type, want: type[MusterError], want_code: str
) -> None:
    error = map_error(http_error(status, code, cls), "reading the blob 'x'")
    assert (type(error), error.code) == (want, want_code)
    assert error.message.endswith(".")


def test_a_class_that_nobody_knows_is_transient() -> None:
    class NewInTheNextRelease(AzureError):
        pass

    assert type(map_error(NewInTheNextRelease("?"), "reading")) is Unavailable


@pytest.mark.parametrize(
    "error",
    [
        ServiceRequestError("refused"),
        aiohttp.ClientPayloadError("cut"),
        TimeoutError(),
        ConnectionResetError(),
        AzureError("?"),
    ],
)
def test_no_answer(error: Exception) -> None:
    with pytest.raises(Unavailable) as caught, mapped("reading the blob 'x'"):
        raise error
    assert caught.value.__cause__ is error
    assert "reading the blob 'x'" in caught.value.message


def test_other_errors_pass_through() -> None:
    with pytest.raises(KeyError), mapped("reading"):
        raise KeyError
    with pytest.raises(PermissionError), disk_full_mapped("fetching"):
        raise PermissionError(13, "no")


@pytest.mark.parametrize("number", [28, 122])
def test_full_disk(number: int) -> None:
    with pytest.raises(StorageFull) as caught, disk_full_mapped("fetching the blob 'x'"):
        raise OSError(number, "full")
    assert caught.value.code == "storage_full"


def test_service_url() -> None:
    assert (
        service_url("https://herd.blob.core.windows.net/", "queue")
        == "https://herd.queue.core.windows.net"
    )
    assert (
        service_url("https://herd.queue.core.windows.net", "blob")
        == "https://herd.blob.core.windows.net"
    )
    for url in (
        "http://herd.blob.core.windows.net",
        "herd",
        "https://herd",
        "https://herd.file.core.windows.net",
        "",
    ):
        with pytest.raises(InvalidInput) as caught:
            service_url(url, "blob")
        assert caught.value.code == "bad_storage_account_url"
