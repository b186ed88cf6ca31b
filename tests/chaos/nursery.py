"""Forks workers that need not import anything any more: `python -m tests.chaos.nursery`.

`python -m tests.chaos.nursery quick`: their engine only pretends; see `tests.support.quick_worker`.
Else nothing differs from the real one.

Reads the path of a log file from standard input for each worker to start, and answers with its
process id. The workers are those of `python -m worker.main`, with the configuration of the
environment; only their log says in addition when a step begins and ends, and none
of them sweeps: a sweeper would make up for messages that were lost.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable

import worker.main
from tests.chaos.recordings import SLOW_RECORDING
from worker.handlers import HANDLERS
from worker.step import Step

SLOW_STEP, SLOW_S = "detect:0", 4.0
"""Longer than the visibility."""
_LIGHT = (
    "azure.storage.blob.aio",
    "azure.storage.queue.aio",
    "core.adapters.mongo",
    "core.adapters.sqlite",
)
_HEAVY = (
    "av",
    "cv2",
    "openvino",
    "pyarrow.parquet",
    "scipy.optimize",
    "ml_engine.stages.assemble",
    "ml_engine.stages.detect",
    "ml_engine.stages.render",
    "ml_engine.detection.runtimes.network_detector",
    "ml_engine.detection.runtimes.openvino_runtime",
)


class NoSweeper:
    """Sends nothing again."""

    def __init__(self, *_: object) -> None:
        """Take what a sweeper takes."""

    async def run(self, **_: object) -> None:
        """Do nothing."""


def serve() -> None:
    """Fork a worker for each line of standard input, until its end."""
    if sys.argv[1:] == ["quick"]:
        vars(worker.main)["real_engine"] = importlib.import_module(
            "tests.support.quick_worker"
        ).quick_engine
    for name in _LIGHT if sys.argv[1:] == ["quick"] else _LIGHT + _HEAVY:
        importlib.import_module(name)
    vars(worker.main)["Sweeper"] = NoSweeper
    for step, handler in list(HANDLERS.items()):
        HANDLERS[step] = _noted(handler)
    # Nobody asks how a killed worker ended; unasked, it would stay as a zombie.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        log_path = line.strip()
        pid = os.fork()
        if pid == 0:
            _become_worker(log_path)
        print(pid, flush=True)


def _become_worker(log_path: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, target)
    status = worker.main.main([])
    sys.stdout.flush()
    os._exit(status)


def _noted(handler: Callable[[Step], Awaitable[None]]) -> Callable[[Step], Awaitable[None]]:
    @functools.wraps(handler)
    async def noting(step: Step) -> None:
        facts = {"job_id": step.job.id, "step": step.message.step_key}
        logging.getLogger(__name__).info(
            "a step begins", extra={"action": "chaos_step_begun", **facts}
        )
        try:
            if step.job.files[0].name == SLOW_RECORDING and step.message.step_key == SLOW_STEP:
                # Nobody but whoever renews leases sees to it that this step can ever end.
                await step.stop.unless_set(asyncio.sleep(SLOW_S))
            await handler(step)
        finally:
            logging.getLogger(__name__).info(
                "a step ends", extra={"action": "chaos_step_ended", **facts}
            )

    return noting


if __name__ == "__main__":
    serve()
