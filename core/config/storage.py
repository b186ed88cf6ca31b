"""The section of the storage: where blobs and queues are, and how they are reached."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from core.config.data_folder import DataSection
from core.config.variables import variable
from core.errors import InvalidInput

PUBLISHED_STORAGE_KEY = "published_storage_key"
"""Code of the refusal, and of the problem in `/health` where the operator allows it."""

OWN_CONNECTION_FILE = Path("azurite") / "connection-string"
"""Where the data folder's own Azurite leaves its connection string, below the data folder."""

NO_STORAGE = "no_storage"
NO_STORAGE_SENTENCE = (
    "No storage is configured. Start Azurite first with `muster azurite` and the same "
    "MUSTER_DATA_DIR, or set AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCOUNT_URL."
)

_PUBLISHED_ACCOUNT = "devstoreaccount1"
# SHA-256 of the key: the same key is printed in the documentation of every emulator of Azure
# Storage.
_PUBLISHED_KEY_DIGEST = "cb4de97f405a7e4686710db86f345ac95acb27c33192e82caafa9c197f2019e5"
_REFUSAL = (
    "the storage connection uses the development account, whose key is published: any program and "
    "any web page on this machine could read, change and delete all videos. Leave "
    "AZURE_STORAGE_CONNECTION_STRING unset and start Azurite with `muster azurite` (or "
    "everything with `make run`, `docker compose up`): it gives the data folder an account of its "
    "own and moves its data there. An Azurite of your own takes an account from its variable "
    "AZURITE_ACCOUNTS. For data that may be lost and seen by anyone, set "
    "MUSTER_ALLOW_PUBLISHED_STORAGE_KEY=true"
)


class StorageSection(DataSection):
    """Which storage account, which containers, and by which key or identity."""

    title: ClassVar[str] = "Storage"

    storage_connection: str = variable(
        "",
        "Connection string of Azure Storage or Azurite.",
        names=("AZURE_STORAGE_CONNECTION_STRING",),
        secret=True,
        default_text="that of the data folder's own Azurite",
    )
    storage_connection_file: Path | None = variable(
        None,
        "File that holds the connection string, instead of the string itself.",
        names=("AZURE_STORAGE_CONNECTION_STRING_FILE",),
    )
    storage_account_url: str | None = variable(
        None,
        "`https://ACCOUNT.blob.core.windows.net`: use the managed identity instead of a "
        "connection string.",
        names=("AZURE_STORAGE_ACCOUNT_URL",),
    )
    allow_published_storage_key: bool = variable(
        False,
        "Accept Azurite's development account, whose key is published. "
        "Only for data that may be lost and seen by anyone.",
    )
    input_container: str = variable(
        "raw-videos", "Container of the videos.", names=("BLOB_CONTAINER_INPUT",)
    )
    output_container: str = variable(
        "processed-videos", "Container of the results.", names=("BLOB_CONTAINER_OUTPUT",)
    )

    @model_validator(mode="after")
    def _find_connection(self) -> StorageSection:
        found = resolve_connection(
            self.storage_connection,
            self.storage_connection_file,
            self._own_file,
            allow_published=self.allow_published_storage_key,
        )
        # The model is frozen for its users; this is still its making.
        object.__setattr__(self, "storage_connection", found)
        return self

    @property
    def connection_file(self) -> Path | None:
        """File that the connection string comes from where it is not given itself."""
        return self.storage_connection_file or self._own_file

    @property
    def _own_file(self) -> Path | None:
        return None if self.storage_account_url else self.data_dir / OWN_CONNECTION_FILE

    def require(self) -> None:
        """Refuse to begin without a storage.

        Raises:
            InvalidInput: None is configured (code `no_storage`).
        """
        if not self.storage_connection and not self.storage_account_url:
            raise InvalidInput(NO_STORAGE_SENTENCE, code=NO_STORAGE)

    @property
    def published_storage_key(self) -> bool:
        """Whether the storage is reached by the published key."""
        return not self.storage_account_url and uses_published_key(self.storage_connection)


def resolve_connection(
    given: str, file: Path | None, own: Path | None, *, allow_published: bool
) -> str:
    """Return the connection string that a configuration means. Reads a file; idempotent.

    Args:
        given: The string itself; blank: none.
        file: The file that the operator named.
        own: The file of the data folder's own Azurite, used where the operator named nothing; it
            may be absent. None: not used.
        allow_published: Whether the published key may be used.

    Returns:
        The string; empty where there is none.

    Raises:
        ValueError: Both a string and a file are given, or a file cannot be read.
        PydanticCustomError: It uses the published key (code `published_storage_key`).
    """
    connection = given.strip()
    if connection and file is not None:
        raise ValueError(
            "AZURE_STORAGE_CONNECTION_STRING and AZURE_STORAGE_CONNECTION_STRING_FILE "
            "are both set; keep one of them"
        )
    named = file or own
    if not connection and named is not None:
        try:
            connection = named.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            if file is not None:
                raise ValueError(
                    f"the file {file} of AZURE_STORAGE_CONNECTION_STRING_FILE does not exist"
                ) from None
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ValueError(f"the connection string in {named} cannot be read: {reason}") from None
    if uses_published_key(connection) and not allow_published:
        raise PydanticCustomError(PUBLISHED_STORAGE_KEY, _REFUSAL)
    return connection


def uses_published_key(connection: str) -> bool:
    """Return whether a connection string means the development account or holds its key, however it
    is written.
    """
    parts = [
        (name.strip(" \"'").lower(), value.strip(" \"'"))
        for name, _, value in (part.partition("=") for part in connection.split(";"))
    ]
    if any(name == "usedevelopmentstorage" and value.lower() == "true" for name, value in parts):
        return True
    keys = [value for name, value in parts if name == "accountkey"]
    if keys:
        return any(map(_is_published, keys))
    # A signature tells no key; one for this account was made with the published one.
    return any(_account_in(name, value) == _PUBLISHED_ACCOUNT for name, value in parts)


def _is_published(key: str) -> bool:
    # The SDK skips characters that are not of base64 and ignores what follows the padding, so that
    # many texts are one key.
    for text in (key, key.translate(str.maketrans("-_", "+/"))):
        for padding in ("", "=", "=="):
            try:
                decoded = base64.b64decode(text + padding)
            except ValueError:
                continue
            if hashlib.sha256(decoded).hexdigest() == _PUBLISHED_KEY_DIGEST:
                return True
    return False


def _account_in(name: str, value: str) -> str:
    """Return the account that one part of a connection string names; empty: none."""
    if name == "accountname":
        return value.lower()
    if not name.endswith("endpoint"):
        return ""
    try:
        address = urlsplit(value)
        host = (address.hostname or "").split(".")[0]
    except ValueError:
        return ""
    first = address.path.strip("/").split("/")[0].lower()
    return next((text for text in (first, host) if text == _PUBLISHED_ACCOUNT), "")
