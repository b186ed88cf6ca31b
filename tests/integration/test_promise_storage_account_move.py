"""Data of the published account move to the data folder's own: all of it, whenever the move is
killed, however much it is.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobBlock, BlobServiceClient

from core.bootstrap import close_ports, make_ports, open_ports
from core.config.processes import PortsConfig
from infra import azurite_server
from infra.processes import StartError
from tests.conftest import unavailable
from tests.support.account_move import (
    BLOBS,
    QUEUES,
    account_of,
    add_rarities,
    everything,
    film_files,
    of_account,
    prepare,
    records,
    unpack,
)
from tests.support.azurite_stand import API_VERSION
from tests.support.configuration import ports_config
from tests.support.published_azurite import KEY, PUBLISHED, PublishedAzurite, own_azurite

# Kills the process at one of its calls of the file system, before the call or in the middle of it.
KILLER = """
const fs = require("node:fs");
let left = Number(process.env.MOMENT);
for (const name of ["mkdirSync", "openSync", "writeFileSync", "fsyncSync", "closeSync", "renameSync", "chmodSync"]) {
  const call = fs[name];
  fs[name] = (...given) => {
    if (left-- === 0) {
      if (name === "writeFileSync") call(given[0], given[1].slice(0, given[1].length / 2));
      process.kill(process.pid, "SIGKILL");
    }
    return call(...given);
  };
}
"""


@pytest.fixture(scope="module")
def installed() -> None:
    try:
        azurite_server.install_azurite()
    except StartError as error:
        unavailable(str(error))


@pytest.fixture
def old(tmp_path: Path, installed: None) -> Path:
    """Azurite's data folder of a release before this one."""
    return unpack(tmp_path)


def test_promise_everything_is_there_under_the_own_account(old: Path) -> None:
    with PublishedAzurite(old) as published:
        add_rarities(published.connection_string)
        before = everything(published.connection_string)
    stored = film_files(old)
    assert len(before) > 150 and "rare/staged.mp4@None blocks" in before
    azurite = own_azurite(old)
    azurite.start()
    try:
        assert everything(azurite.connection_string) == before
        assert film_files(old) == stored, "no byte of a film was written again"
        with BlobServiceClient.from_connection_string(
            azurite.connection_string, api_version=API_VERSION
        ) as client:
            staged = client.get_blob_client("rare", "staged.mp4")
            staged.commit_block_list([BlobBlock("YQ=="), BlobBlock("Yg==")])
            assert staged.download_blob().readall() == b"A" * 1000 + b"B" * 1000
            client.create_container("new").upload_blob("new.bin", b"new")
        refused = azurite.connection_string.replace(f"/{account_of(old)};", f"/{PUBLISHED};")
        with (
            BlobServiceClient.from_connection_string(refused, api_version=API_VERSION) as client,
            pytest.raises(HttpResponseError) as caught,
        ):
            next(iter(client.list_containers()))
        assert caught.value.status_code in (403, 404)
        azurite.stop()
        azurite.start()
        with BlobServiceClient.from_connection_string(
            azurite.connection_string, api_version=API_VERSION
        ) as client:
            assert client.get_blob_client("new", "new.bin").download_blob().readall() == b"new"
            assert (
                client.get_blob_client("rare", "staged.mp4").download_blob().readall()
                == b"A" * 1000 + b"B" * 1000
            )
    finally:
        azurite.stop()


def test_promise_storage_and_database_still_belong_together(
    tmp_path: Path, installed: None
) -> None:
    location = tmp_path / "azurite"
    names: dict[str, Any] = {
        "data_dir": tmp_path,
        "input_container": "raw",
        "output_container": "out",
        "queue_name": "jobs",
    }

    async def opened(config: PortsConfig) -> tuple[str, bytes | None, str | None]:
        """Open the ports as a process does; return the identity, a job's film and the queue's mark."""
        ports = make_ports(config)
        try:
            await open_ports(ports)
            if config.storage.allow_published_storage_key:
                await ports.sources.put("jobs/x/film", b"film")
            identity = await ports.ledger.identity()
            assert identity is not None
            return identity.id, await ports.sources.get("jobs/x/film"), await ports.queue.mark()
        finally:
            await close_ports(ports)

    with PublishedAzurite(location) as published:
        connection = published.connection_string
        before = asyncio.run(
            opened(
                ports_config(
                    storage_connection=connection,
                    allow_published_storage_key=True,
                    **names,
                )
            )
        )
    azurite = own_azurite(location)
    azurite.start()
    try:
        assert asyncio.run(opened(ports_config(**names))) == before
        assert before[1:] == (b"film", before[0])
    finally:
        azurite.stop()


def test_promise_a_move_that_is_killed_at_any_moment_is_completed(
    old: Path, tmp_path: Path
) -> None:
    killer = tmp_path / "killer.js"
    killer.write_text(KILLER)
    expected = records(old)
    states = set()
    for moment in range(1000):
        location = tmp_path / f"at-{moment}"
        shutil.copytree(old, location)
        killed = prepare(location, "-r", str(killer), MOMENT=str(moment))
        made = account_of(location) if (location / "muster-account").exists() else None
        names = [{record["accountName"] for data in records(location).values() for record in data}]
        states.add(
            (
                made is not None,
                tuple(sorted(PUBLISHED if name == PUBLISHED else "own" for name in names[0])),
            )
        )
        assert made or names == [{PUBLISHED}], "the account is written before anything moves"
        done = prepare(location)
        assert done.returncode == 0, done.stderr
        assert made in (None, account_of(location)), "an account that was made stays"
        assert records(location) == of_account(expected, account_of(location)), moment
        assert stat.S_IMODE((location / "muster-account").stat().st_mode) == 0o600
        shutil.rmtree(location)
        if killed.returncode == 0:
            break
        assert killed.returncode == -9
    assert moment > 15
    assert states == {
        (False, (PUBLISHED,)),
        (True, (PUBLISHED,)),
        (True, (PUBLISHED, "own")),
        (True, ("own",)),
    }, "between any two steps"


def test_a_later_start_writes_nothing(old: Path) -> None:
    assert "159 records moved" in prepare(old).stdout
    before = {path.name: path.stat().st_mtime_ns for path in old.iterdir()}
    again = prepare(old)
    assert (again.returncode, again.stdout) == (0, "")
    assert {path.name: path.stat().st_mtime_ns for path in old.iterdir()} == before


def large_database(location: Path, number: int) -> None:
    """Multiply the blobs of a folder."""
    database = json.loads((location / BLOBS).read_text())
    (blobs,) = (
        collection
        for collection in database["collections"]
        if collection["name"] == "$BLOBS_COLLECTION$"
    )
    template = json.dumps(blobs["data"][0] | {"name": "NAME", "$loki": 0})
    blobs["data"] = []
    blobs["idIndex"] = list(range(1, number + 1))
    blobs["maxId"] = number
    for index in blobs["binaryIndices"].values():
        index["values"] = list(range(number))
    text = ",".join(
        template.replace('"NAME"', f'"jobs/{place:09}"').replace(
            '"$loki": 0', f'"$loki": {place + 1}'
        )
        for place in range(number)
    )
    whole = json.dumps(database)
    assert whole.count('"data": []') > 0
    head, _, tail = whole.partition('"name": "$BLOBS_COLLECTION$", "data": []')
    (location / BLOBS).write_text(f'{head}"name": "$BLOBS_COLLECTION$", "data": [{text}]{tail}')


def test_a_database_of_a_hundred_megabytes_moves(old: Path) -> None:
    large_database(old, 125_000)
    assert (old / BLOBS).stat().st_size > 100e6
    began = time.monotonic()
    done = prepare(old)
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - began < 30
    assert "125002 records moved" in done.stdout
    content = (old / BLOBS).read_bytes()
    assert PUBLISHED.encode() not in content and content.count(account_of(old).encode()) == 125_002


def test_what_exists_under_both_accounts_stays_and_is_said(old: Path) -> None:
    """A release before this one ran again on the folder: it made the containers again, under the
    published account.
    """
    assert prepare(old).returncode == 0
    before = records(old)
    taken = next(
        record["name"]
        for record in before[f"{BLOBS} $BLOBS_COLLECTION$"]
        if record["containerName"] == "raw-videos"
    )
    with (
        PublishedAzurite(old) as published,
        BlobServiceClient.from_connection_string(
            published.connection_string, api_version=API_VERSION
        ) as client,
    ):
        container = client.create_container("raw-videos")
        container.upload_blob(taken, b"of the older release")
        container.upload_blob("only-there.mp4", b"of the older release")
    azurite = own_azurite(old)
    azurite.start()
    try:
        with BlobServiceClient.from_connection_string(
            azurite.connection_string, api_version=API_VERSION
        ) as client:
            container = client.get_container_client("raw-videos")
            assert container.download_blob(taken).readall() != b"of the older release"
            assert container.download_blob("only-there.mp4").readall() == b"of the older release"
            found = [blob.name for blob in container.list_blobs()]
        assert sorted(found) == sorted({*found}) and {taken, "only-there.mp4"} <= {*found}
        assert (
            azurite.child is not None
            and f"2 records stay with {PUBLISHED}" in azurite.child.log_path.read_text()
        )
    finally:
        azurite.stop()
    after = {
        place: [record for record in data if record["accountName"] != PUBLISHED]
        for place, data in records(old).items()
    }
    for place, data in before.items():
        assert [record for record in after[place] if record in data] == data, place
    kept = [
        record
        for data in records(old).values()
        for record in data
        if record["accountName"] == PUBLISHED
    ]
    assert sorted(record["name"] for record in kept) == sorted(["raw-videos", taken])


def test_records_are_found_whatever_other_accounts_there_are(old: Path) -> None:
    """Azurite searches its index of account names by halves: a new name must not leave it out of
    order.
    """
    for name in (BLOBS, QUEUES):
        database = json.loads((old / name).read_text())
        for collection in database["collections"]:
            for place, record in enumerate(collection["data"]):
                # Every third record belongs to an account that sorts between the published name and
                # the new one.
                record["accountName"] = "herd" if place % 3 == 1 else PUBLISHED
            if "accountName" in collection["binaryIndices"]:
                names = [record["accountName"] for record in collection["data"]]
                collection["binaryIndices"]["accountName"]["values"].sort(key=names.__getitem__)
        (old / name).write_text(json.dumps(database))
    assert prepare(old).returncode == 0
    for name in (BLOBS, QUEUES):
        for collection in json.loads((old / name).read_text())["collections"]:
            names = [record["accountName"] for record in collection["data"]]
            assert PUBLISHED not in names
            index = collection["binaryIndices"].get("accountName")
            if index is not None:
                assert sorted(index["values"]) == list(range(len(names)))
                assert [names[place] for place in index["values"]] == sorted(names)


def test_an_account_file_that_others_can_read_is_closed(old: Path) -> None:
    prepare(old)
    (old / "muster-account").chmod(0o644)
    assert prepare(old).returncode == 0
    assert stat.S_IMODE((old / "muster-account").stat().st_mode) == 0o600


def test_a_lost_account_file_costs_the_key_and_not_the_data(old: Path) -> None:
    prepare(old)
    name, key = (old / "muster-account").read_text().strip().split(":")
    before = records(old)
    (old / "muster-account").unlink()
    assert prepare(old).returncode == 0
    again = (old / "muster-account").read_text().strip().split(":")
    assert again[0] == name and again[1] != key and len(again[1]) == 88
    assert records(old) == before


@pytest.mark.parametrize(
    "content",
    [
        "",
        "muster",
        "muster:short",
        f"{PUBLISHED}:{KEY}\n",
        f"a;b:{KEY}",
        f"{PUBLISHED}x:{KEY};{PUBLISHED}:{KEY}",
        f"mustera:{KEY}:{KEY}",
    ],
)
def test_an_account_file_that_holds_no_account_stops_the_start_and_changes_nothing(
    old: Path, content: str
) -> None:
    (old / "muster-account").write_text(content)
    before = records(old)
    azurite = own_azurite(old)
    with pytest.raises(
        StartError,
        match="muster-account holds no account of this data folder. Put a copy of it back",
    ):
        azurite.start()
    azurite.stop()
    assert records(old) == before
    assert (old / "muster-account").read_text() == content


def test_a_full_disk_leaves_the_data_as_they_are(old: Path, tmp_path: Path) -> None:
    full = tmp_path / "full.js"
    full.write_text(
        'const fs = require("node:fs"); const write = fs.writeFileSync;\n'
        "fs.writeFileSync = (file, text) => { if (text.length < 1000) return write(file, text);"
        ' write(file, text.slice(0, 100)); throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" }); };'
    )
    before = records(old)
    assert "ENOSPC" in prepare(old, "-r", str(full)).stderr
    assert records(old) == before
    assert prepare(old).returncode == 0
    assert records(old) == of_account(before, account_of(old))


def test_two_folders_have_accounts_of_their_own(tmp_path: Path, installed: None) -> None:
    for name in ("one", "two"):
        assert prepare(tmp_path / name).returncode == 0
    (one, first), (two, second) = (
        (tmp_path / name / "muster-account").read_text().strip().split(":")
        for name in ("one", "two")
    )
    assert one != two and first != second
