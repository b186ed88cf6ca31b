"""Fixtures that all tests share.

A missing service skips with its reason, and fails where `CI` is set.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from infra.azurite_server import AzuriteServer
from infra.processes import StartError
from tests.support.servers import MissingService, MongoServer, start_azurite
from tests.support.side_by_side import Turns

REPOSITORY = Path(__file__).parents[1]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let a test that must run alone do so. The time that it waits is not its own."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    # The folder of the run; each of its processes has one below it.
    turns = Turns(Path(item.config.option.basetemp).parent)
    with turns.turn(alone=item.get_closest_marker("alone") is not None):
        return (yield)


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail it where `CI` is set: there, everything must be there."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzuriteServer]:
    """A real Azurite, for the whole session; `.connection_string` reaches it."""
    try:
        server = start_azurite(tmp_path_factory.mktemp("azurite"))
    except StartError as error:
        unavailable(str(error))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mongo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """A real MongoDB-protocol server over TCP, for the whole session."""
    try:
        server = MongoServer(tmp_path_factory.mktemp("mongo"))
    except (MissingService, StartError) as error:
        unavailable(str(error))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def unique_name() -> Callable[[str], str]:
    """Returns names that no other test uses, fit for containers, queues and databases."""

    def name(prefix: str = "test") -> str:
        return f"{prefix}-{uuid.uuid4().hex[:12]}"

    return name


def find_shared_dir() -> Path | None:
    """Return the folder of evaluation data, if this machine has it."""
    path = Path(os.environ.get("MUSTER_SHARED_DIR", REPOSITORY.parent / "shared"))
    return path if (path / "data").is_dir() else None


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of evaluation data.

    It is not part of the project, so a test that needs it skips where it is absent, in CI too.
    """
    path = find_shared_dir()
    if path is None:
        pytest.skip("the evaluation data (../shared, or MUSTER_SHARED_DIR) is not here")
    return path
