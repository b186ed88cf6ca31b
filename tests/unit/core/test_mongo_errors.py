"""Every error that PyMongo and its BSON codec know becomes one of Muster's."""

from __future__ import annotations

import bson.errors
import gridfs.errors  # noqa: F401  (its errors are PyMongo's too: all that exist are walked through)
import pytest
from pymongo import errors
from pymongo._asyncio_lock import Condition, Lock

from core.adapters.mongo.connection import MongoConnection
from core.adapters.mongo.errors import mapped, mapped_but
from core.errors import InvalidInput, MusterError, StorageFull, Unavailable


def descendants(base: type[Exception]) -> set[type[Exception]]:
    return {base}.union(*(descendants(child) for child in base.__subclasses__()))


ALL = sorted(
    descendants(errors.PyMongoError) | descendants(bson.errors.BSONError),
    key=lambda kind: kind.__name__,
)
PERMANENT = {
    "BSONError",
    "DocumentTooLarge",
    "InvalidBSON",
    "InvalidDocument",
    "InvalidId",
    "InvalidStringData",
}


def make(kind: type[Exception]) -> Exception:
    if issubclass(kind, errors.BulkWriteError):
        return kind({"writeErrors": []})
    if kind is errors.ClientBulkWriteException:
        return kind({"error": None}, verbose=False)
    if kind is errors.EncryptedCollectionError:
        return kind(errors.PyMongoError("it broke"), {})
    return kind("it broke")


def test_there_are_many() -> None:
    assert len(ALL) > 25
    assert errors.ServerSelectionTimeoutError in ALL


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_each_is_mapped(kind: type[Exception]) -> None:
    with pytest.raises(MusterError) as caught, mapped():
        raise make(kind)
    assert type(caught.value) is (InvalidInput if kind.__name__ in PERMANENT else Unavailable)
    assert isinstance(caught.value.__cause__, kind)


def test_a_full_disk_and_a_large_record_are_told_apart() -> None:
    with pytest.raises(StorageFull), mapped():
        raise errors.OperationFailure("no space", code=14031)
    with pytest.raises(InvalidInput) as caught, mapped():
        raise errors.DocumentTooLarge("17 MB")
    assert caught.value.code == "record_too_large"


def test_what_the_caller_answers_itself_and_what_is_no_database_error_pass() -> None:
    with pytest.raises(errors.DuplicateKeyError), mapped_but(errors.DuplicateKeyError):
        raise errors.DuplicateKeyError("twice")
    with pytest.raises(ZeroDivisionError), mapped():
        raise ZeroDivisionError


async def test_a_lock_of_the_driver_that_breaks_in_an_outage_is_an_outage() -> None:
    with pytest.raises(Unavailable) as caught, mapped():
        await Condition(Lock()).wait()
    assert caught.value.code == "database_unavailable"
    with pytest.raises(RuntimeError, match="ours"), mapped():
        raise RuntimeError("ours")


@pytest.mark.parametrize(
    "uri",
    [
        "http://secret",
        "mongodb://h:99999/x",
        "mongodb://me:secret:x@h/",
        "mongodb://[::1/x",
        "mongodb://h/?minPoolSize=200&maxPoolSize=1",
        "mongodb://h/?tls=true&tlsCAFile=/no/such/file",
    ],
)
async def test_a_uri_that_is_not_valid_is_refused_without_its_password(uri: str) -> None:
    connection = MongoConnection(uri, database="muster")
    with pytest.raises(InvalidInput) as refused:
        await connection.open("a store")
    assert refused.value.code == "bad_mongo_uri"
    assert refused.value.message.startswith("MONGO_URI ")
    assert "secret" not in refused.value.message
    assert connection.describe().endswith("database muster")
