"""APIs that end at a named point of a request as `kill -9` would end them: `python -m
tests.support.dying_api`.

Reads lines `POINT PORT` from standard input, and serves each in a process of its own, which need
not import anything any more; answers each line with the process's exit status. A point is `before`
or `after` a method of a port, and at which of its calls: `before:jobs.add:1`. `staged` is between
the staging of a blob's blocks and their commit.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import uvicorn

import core.bootstrap
from api.app import create_app
from core.adapters.azure import blob as azure_blob
from core.adapters.azure import transfer as azure_transfer
from core.config.processes import ApiConfig, PortsConfig
from core.ports import Ports

_make_ports, _stage_blocks = core.bootstrap.make_ports, azure_transfer.stage_blocks


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def _stage_and_die(*args: Any) -> Any:
    staged = await _stage_blocks(*args)
    _die()
    return staged


def _deadly(point: str, config: PortsConfig) -> Ports:
    ports = _make_ports(config)
    when, where, number = point.split(":")
    part, method = where.split(".")
    target = getattr(ports, part)
    plain, calls = getattr(target, method), 0

    async def call(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        # Its own number: another call may begin before this one has ended.
        is_the_one = calls == int(number)
        if when == "before" and is_the_one:
            _die()
        result = await plain(*args, **options)
        if when == "after" and is_the_one:
            _die()
        return result

    setattr(target, method, call)
    return ports


def _serve(point: str, port: int) -> None:
    """Serve until the point is reached."""
    if point == "staged":
        vars(azure_blob)["stage_blocks"] = _stage_and_die
    else:
        core.bootstrap.make_ports = lambda config: _deadly(point, config)
    uvicorn.run(create_app(), port=port, access_log=False)


def main() -> None:
    """Serve line by line."""
    _make_ports(
        ApiConfig.read()
    )  # imports the adapters; nothing is opened, so that the process can be forked
    for line in sys.stdin:
        point, port = line.split()
        pid = os.fork()
        if pid == 0:
            _serve(point, int(port))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
