"""Two databases on one storage, and what becomes of the second."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.storage.queue.aio import QueueClient

from core.adapters.azure.queue import AzureJobQueue
from core.domain.clock import utc_now
from core.domain.housekeeping import HousekeepingRules
from core.errors import ForeignStorage
from core.ports import Ports
from core.services.attempts.dispatch import Dispatcher
from core.services.housekeeping.keeper import Housekeeping, Report
from infra.azurite_server import AzuriteServer
from infra.processes import Child
from tests.contract.databases import drop_database
from tests.support.azurite_stand import API_VERSION
from tests.support.servers import MongoServer
from tests.support.stack import Stack

TWO_DAYS_AHEAD = timedelta(days=-2)
"""As an age: everything is older, also what was written just now."""
SETTINGS = {"MUSTER_VISIBILITY_S": "30", "MUSTER_SWEEP_S": "0", "MUSTER_MAX_FAILURES": "2"}
COMMANDS = ("muster storage adopt", "muster storage separate")


class Two:
    """Two Musters with databases of their own, configured for one storage."""

    def __init__(
        self,
        azurite: AzuriteServer,
        mongo: Callable[[], MongoServer],
        base: Path,
        unique_name: Callable[[str], str],
        kinds: tuple[str, ...],
    ) -> None:
        self.mongo_databases: list[tuple[str, str]] = []
        names = functools.cache(unique_name)
        self.stacks = []
        for number, kind in enumerate(kinds):
            settings = dict(SETTINGS)
            if kind == "mongo":
                self.mongo_databases.append((mongo().uri, unique_name("two")))
                settings |= {
                    "MONGO_URI": mongo().uri,
                    "MUSTER_MONGO_DATABASE": self.mongo_databases[-1][1],
                }
            self.stacks.append(Stack(azurite, base / str(number), names, settings))

    def stop(self) -> None:
        for stack in self.stacks:
            stack.stop()
        for uri, name in self.mongo_databases:
            asyncio.run(drop_database(uri, name))


async def look(ports: Ports) -> dict[str, Any]:
    """Return everything that lies in the storage: blobs with their ETags, those with staged blocks
    only included, and messages.
    """
    found: dict[str, Any] = {}
    for store in (ports.sources, ports.results):
        infos = (await store.page("", limit=5000)).items
        found |= {f"{store.name}/{info.name}": (info.size_bytes, info.etag) for info in infos}
    assert isinstance(ports.queue, AzureJobQueue)
    connection = ports.queue._connection_string
    for queue in (ports.queue, ports.detect_queue):
        for name in (queue.name, f"{queue.name}-poison"):
            async with QueueClient.from_connection_string(
                connection, name, api_version=API_VERSION
            ) as client:
                messages = await client.peek_messages(max_messages=32)
                found |= {
                    f"{name}/{message.id}": (message.content, message.dequeue_count)
                    for message in messages
                }
    return found


def stored(stack: Stack) -> dict[str, Any]:
    return stack.with_ports(look, checked=False)


def sweep(stack: Stack, *, checked: bool = True) -> Report:
    """Do what the sweepers of its processes do, as if two days had passed."""

    async def run(ports: Ports) -> Report:
        rules = HousekeepingRules(timedelta(seconds=30), TWO_DAYS_AHEAD, TWO_DAYS_AHEAD, keep=None)
        return await Housekeeping(ports, Dispatcher(ports), utc_now, rules).run(everything=True)

    return stack.with_ports(run, checked=checked)


def refused_sweep(stack: Stack) -> None:
    """Sweep as a process does that was started before the storage was another database's."""
    with pytest.raises(ForeignStorage):
        sweep(stack, checked=False)


def exit_status(child: Child) -> int:
    assert child.process is not None
    return child.process.wait(120)


def assert_refused(stack: Stack, *, commands: Sequence[tuple[str, ...]]) -> None:
    """Every process and every command that would work with the storage ends with the sentence that
    says what to do.
    """
    stack.api.start()
    worker = stack.start_worker("tests.support.quick_worker")
    told = []
    for module, *arguments in commands:
        done = stack.run(module, *arguments)
        assert (done.returncode, done.stdout) == (1, ""), done
        told.append(done.stderr)
    assert exit_status(worker) == 1
    assert exit_status(stack.api) != 0
    told += [worker.log_path.read_text(), stack.api.log_path.read_text()]
    for text in told:
        assert "do not belong together" in text and all(command in text for command in COMMANDS), (
            text
        )
