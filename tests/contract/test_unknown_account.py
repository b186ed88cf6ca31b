"""A storage that does not know the account, such as another Azurite on the port."""

from __future__ import annotations

import re

import pytest

from core.adapters.azure.blob import AzureBlobStore
from core.adapters.azure.queue import AzureJobQueue
from core.errors import Unavailable
from infra.azurite_server import AzuriteServer


@pytest.mark.parametrize("kind", ["blob", "queue"])
async def test_an_unknown_account_is_named_with_the_remedy(
    kind: str, azurite: AzuriteServer
) -> None:
    own = azurite.connection_string
    account = re.search(r"AccountName=([^;]+)", own)
    assert account
    connection = own.replace(account[1], "elsewhere")
    port: AzureBlobStore | AzureJobQueue = (
        AzureBlobStore(container="herd", connection_string=connection)
        if kind == "blob"
        else AzureJobQueue(queue="herd", connection_string=connection)
    )
    try:
        with pytest.raises(Unavailable) as refused:
            await port.open()
    finally:
        await port.close()
    assert refused.value.code == "storage_account_unknown"
    assert "`python -m infra.storage`" in refused.value.message
