"""The mapping of PyMongo's errors to Muster's. No other module maps them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from bson.errors import BSONError, InvalidDocument
from pymongo.errors import DocumentTooLarge, InvalidOperation, PyMongoError

from core.errors import InvalidInput, MusterError, StorageFull, Unavailable

_NO_SPACE = 14031
"""OutOfDiskSpace. Only some server versions report it; the others stop responding."""


@contextmanager
def mapped_but(*kept: type[PyMongoError]) -> Iterator[None]:
    """Raise Muster's errors in place of PyMongo's, except those that the caller handles itself.

    Raises:
        Unavailable: The server does not respond, responds with an error, or refuses the
            credentials.
        StorageFull: The server's disk is full.
        InvalidInput: The record is larger than the server accepts (code `record_too_large`), or has
            a value that it cannot store.
    """
    try:
        yield
    except kept:
        raise
    except (PyMongoError, BSONError) as error:
        raise map_error(error) from error
    except RuntimeError as error:
        # When many tasks wait for a server at once, PyMongo's asynchronous lock raises "cannot wait
        # on un-acquired lock".
        if not _is_raised_by_pymongo(error):
            raise
        raise Unavailable(
            "MongoDB does not answer as it should. Check MONGO_URI and the server.",
            code="database_unavailable",
            cause=str(error),
        ) from error


def mapped() -> AbstractContextManager[None]:
    """Raise Muster's errors in place of all of PyMongo's. Raises as `mapped_but`."""
    return mapped_but()


def _is_raised_by_pymongo(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return (
        trace is not None
        and str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] == "pymongo"
    )


def map_error(error: PyMongoError | BSONError) -> MusterError:
    """Return Muster's error for an error of PyMongo."""
    # The subclass is checked first, because PyMongo counts a document that is too large as invalid.
    if isinstance(error, DocumentTooLarge):
        return InvalidInput(
            "This record is larger than the database stores (16 MB). Split the recording.",
            code="record_too_large",
        )
    if isinstance(error, InvalidDocument | BSONError):
        return InvalidInput(
            f"The database cannot store this record: {error}.", code="record_unstorable"
        )
    if isinstance(error, InvalidOperation):
        return Unavailable(
            "The connection to MongoDB is not open.", code="database_unavailable", cause=str(error)
        )
    if getattr(error, "code", None) == _NO_SPACE:
        sentence = (
            "The disk of the MongoDB server is full. Make room. "
            "Until then, requests are refused and jobs wait."
        )
        return StorageFull(sentence, disk_of="database")
    return Unavailable(
        "MongoDB does not answer as it should. Check MONGO_URI and the server.",
        code="database_unavailable",
        cause=str(error),
    )
