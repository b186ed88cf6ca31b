"""`make run` and parts that are started by hand use the account of the data folder, and hand no
secret on to what they start.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core.bootstrap import close_ports, make_ports, open_ports
from core.config.processes import PortsConfig
from infra.azurite_server import AzuriteServer, install_azurite
from infra.local_stack import LocalStack
from infra.processes import Child, StartError, free_ports
from tests.conftest import REPOSITORY, unavailable
from tests.support.configuration import ports_config

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "the-aws-secret",
    "AZURITE_ACCOUNTS": "devstoreaccount1:ZWFzeQ==",
    "AZURE_STORAGE_CONNECTION_STRING": "UseDevelopmentStorage=true",
    "AZURE_CLIENT_SECRET": "the-azure-secret",
    "NODE_OPTIONS": "--require=/nonexistent/evil.js",
    "LD_LIBRARY_PATH": ":",
}
WEBHOOK_SECRET = "the-webhook-secret-of-muster"


@pytest.fixture
def installed() -> None:
    try:
        install_azurite()
    except StartError as error:
        unavailable(str(error))


@pytest.fixture
def stack(installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalStack]:
    for name, value in {**SECRETS, "MUSTER_WEBHOOK_SECRET": WEBHOOK_SECRET}.items():
        monkeypatch.setenv(name, value)
    made = LocalStack(tmp_path / "data", port=free_ports(1)[0])
    try:
        made.prepare()
        made.start()
        yield made
    finally:
        made.stop()


def of(child: Child | None, name: str) -> str:
    assert child is not None and child.process is not None
    return Path(f"/proc/{child.process.pid}/{name}").read_bytes().decode().replace("\0", "\n")


def test_parts_of_make_run_inherit_no_secret_and_use_the_own_account(stack: LocalStack) -> None:
    assert stack.azurite is not None
    key = re.findall("AccountKey=([^;]+)", stack.azurite.connection_string)[0]
    parts = {"azurite": stack.azurite.child, "api": stack.api, "worker": stack.worker}
    for name, child in parts.items():
        for file in ("environ", "cmdline"):
            content = of(child, file)
            assert content and not [
                value for value in (key, *SECRETS.values()) if len(value) > 1 and value in content
            ], (name, file)
        names = {line.partition("=")[0] for line in of(child, "environ").splitlines()}
        assert not names & {
            "AWS_SECRET_ACCESS_KEY",
            "AZURITE_ACCOUNTS",
            "AZURE_CLIENT_SECRET",
            "NODE_OPTIONS",
            "LD_LIBRARY_PATH",
        }, name
        assert (f"MUSTER_WEBHOOK_SECRET={WEBHOOK_SECRET}" in of(child, "environ")) is (
            name != "azurite"
        ), name
        assert child is not None and key not in child.log_path.read_text()
    health = httpx.get(f"{stack.url}/health").json()
    assert health["storage_connected"] is True
    assert "published_storage_key" not in {problem["code"] for problem in health["problems"]}


def test_parts_started_by_hand_find_the_azurite_of_their_data_folder(
    installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = tmp_path / "data"
    env = {**os.environ, "MUSTER_DATA_DIR": str(data_dir), "PYTHONUNBUFFERED": "1"}
    argv = [sys.executable, "-m", "infra.storage"]
    for name in ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_URL"):
        monkeypatch.delenv(name, raising=False)
    with subprocess.Popen(
        argv, env=env, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as azurite:
        try:
            assert azurite.stdout is not None
            said = azurite.stdout.readline()
            assert said.startswith("Azurite runs on the data folder"), said
            second = subprocess.run(
                argv, env=env, cwd=REPOSITORY, capture_output=True, text=True, timeout=60
            )
            assert second.returncode == 1 and "already runs with the data folder" in second.stderr
            config = ports_config(data_dir=data_dir)
            assert re.search("AccountName=muster[0-9a-f]{18};", config.storage.storage_connection)
            assert asyncio.run(write(config, b"film")) == 4
        finally:
            azurite.send_signal(signal.SIGINT)
        assert azurite.wait(30) == 0
    assert not list((data_dir / "run").glob("*.pid"))


async def write(config: PortsConfig, data: bytes) -> int:
    """Write a blob by Muster's own ports; return its size."""
    ports = make_ports(config)
    try:
        await open_ports(ports)
        return (await ports.sources.put("jobs/x/film", data)).size_bytes
    finally:
        await close_ports(ports)


def test_an_azurite_whose_ports_another_program_took_does_not_start(
    installed: None, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as others:
        ports = [
            others.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            for _ in range(3)
        ]
        server = AzuriteServer(
            location=tmp_path / "a",
            run_dir=tmp_path,
            blob_port=ports[0],
            queue_port=ports[1],
            table_port=ports[2],
        )
        try:
            with pytest.raises(
                StartError, match=r"(?s)azurite ended at once.*EADDRINUSE|address already in use"
            ):
                server.start()
        finally:
            server.stop()
