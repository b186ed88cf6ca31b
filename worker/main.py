"""`python -m worker.main`: run a worker until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import logging
import os
import platform
import random
import signal
import sys
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import NoReturn, TypeVar

from core.bootstrap import close_ports, make_ports, make_sender, open_ports, start_tracing
from core.config.processes import PortsConfig, WorkerConfig
from core.config.reading import Fault
from core.config.unknown import warn_of_unknown_variables
from core.config.worker import WorkerSection
from core.errors import ForeignStorage, InvalidConfiguration, InvalidInput, MusterError, Stopped
from core.observability.logs import configure_logging
from core.observability.redaction import secrets_of
from core.ports import JobQueue, Ports, WebhookSender
from core.private_files import keep_files_private
from core.program_name import program_name
from core.services.attempts.dispatch import Dispatcher
from core.services.housekeeping.sweep import Sweeper
from ml_engine.video.malloc import keep_freed_memory
from worker.consumer import Consumer
from worker.detectors import Detectors
from worker.engine import decoder_limits, real_engine
from worker.processor import Processor
from worker.scratch import Scratch
from worker.self_report import Presence, planned_device
from worker.settle import back_off_s
from worker.source_cache import SourceCache
from worker.step import Tools, nothing_happens
from worker.stop import unless
from worker.timing import Timer
from worker.watchdog import watch

logger = logging.getLogger(__name__)
C = TypeVar("C", bound=PortsConfig)

ENGINE_THREADS = 8


def queues_of(ports: Ports, serves: str) -> dict[str, JobQueue]:
    """Return the queues that a worker serves, by name.

    `serves` is `all`, `detect` (machines with a GPU) or `cpu` (the other steps).
    """
    queues = {"cpu": ports.queue, "detect": ports.detect_queue}
    return queues if serves == "all" else {serves: queues[serves]}


async def serve(
    config: WorkerConfig,
    worker_id: str,
    *,
    reached: Callable[[str], None] = nothing_happens,
    sender: WebhookSender | None = None,
) -> None:
    """Work until SIGTERM or SIGINT. A second signal ends the process at once.

    Args:
        config: The process's configuration.
        worker_id: Name of this worker in logs and reports.
        reached: See `Tools`.
        sender: Delivers webhooks; default: to public addresses only.
    """
    stopping, timer, ports = asyncio.Event(), Timer(), make_ports(config)
    consumer: Consumer | None = None

    def stop() -> None:
        if stopping.is_set():
            os._exit(1)
        logger.info("stopping", extra={"action": "worker_stopping"})
        stopping.set()
        if consumer is not None:
            consumer.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    scratch = _make_scratch(config.worker)
    executor = ThreadPoolExecutor(ENGINE_THREADS, thread_name_prefix="engine")
    tools = _make_tools(
        config, worker_id, ports, scratch, executor, timer, reached, sender or make_sender()
    )
    processor = Processor(tools)
    try:
        metrics = config.metrics
        if metrics.metrics_port is not None:
            tools.metrics.serve(metrics.metrics_host, metrics.metrics_port)
        if await _open_patiently(ports, stopping, timer):
            queues = queues_of(ports, config.worker.serves)
            visibility = config.queues.visibility
            consumer = Consumer(
                queues, processor, visibility=visibility, grace_s=config.worker.grace_s, timer=timer
            )
            presence = await _make_presence(tools, tuple(queues))
            if stopping.is_set():
                consumer.stop()
            await asyncio.gather(
                consumer.run(),
                presence.run(stopping),
                _sweep_regularly(tools, stopping),
                watch(stopping, timer, visibility_s=config.queues.visibility_s),
            )
            await processor.deliveries.close()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        scratch.close()
        await close_ports(ports)
    logger.info("stopped", extra={"action": "worker_stopped"})


async def _make_presence(tools: Tools, queues: tuple[str, ...]) -> Presence:
    """Determine the device that detects, log that the worker is ready, and return its reporter."""
    device, gpu = await asyncio.to_thread(
        planned_device, tools.config.detectors.device, serves_detection="detect" in queues
    )
    logger.info("ready", extra={"action": "worker_ready", "serves": list(queues), "device": device})
    return Presence(tools, device=device, gpu_available=gpu, serves=queues)


def _make_scratch(config: WorkerSection) -> Scratch:
    try:
        return Scratch(config.data_dir / "cache" / "scratch")
    except OSError as error:
        sentence = (
            f"The data folder {config.data_dir} cannot be used ({error.strerror}). Set "
            "MUSTER_DATA_DIR to another."
        )
        raise InvalidInput(sentence, code="data_dir_unusable") from error


def _make_tools(
    config: WorkerConfig,
    worker_id: str,
    ports: Ports,
    scratch: Scratch,
    executor: ThreadPoolExecutor,
    timer: Timer,
    reached: Callable[[str], None],
    sender: WebhookSender,
) -> Tools:
    engine = real_engine(decoder_limits(config.video))
    folder = config.worker.data_dir / "cache" / "sources"
    return Tools(
        worker_id=worker_id,
        config=config,
        ports=ports,
        dispatcher=Dispatcher(ports),
        engine=engine,
        detectors=Detectors(engine, config.detectors),
        sources=SourceCache(
            ports.sources,
            folder,
            scratch,
            limit_bytes=config.worker.cache_bytes,
            probe=engine.probe,
        ),
        scratch=scratch,
        executor=executor,
        sender=sender,
        timer=timer,
        reached=reached,
    )


async def _open_patiently(ports: Ports, stopping: asyncio.Event, timer: Timer) -> bool:
    """Open the ports, however long that takes. Return False if told to stop before they are open.

    Raises:
        ForeignStorage: Storage and database do not belong together.
        InvalidInput: A connection string cannot be used.
    """
    tries = 0
    while not stopping.is_set():
        try:
            await unless(stopping, open_ports(ports))
            return True
        except Stopped:
            return False
        except (ForeignStorage, InvalidInput):
            # Waiting does not resolve this. The operator has to decide which database owns the
            # storage, or to correct a connection string.
            raise
        except MusterError as error:
            logger.warning(
                "waiting: %s", error.message, extra={"action": "open_failed", "code": error.code}
            )
        await timer.wait(stopping, back_off_s(tries, longest_s=10.0))
        tries += 1
    return False


async def _sweep_regularly(tools: Tools, stopping: asyncio.Event) -> None:
    """Look for silent jobs about once per visibility timeout.

    The interval is random, so that workers do not sweep at the same moment.
    """
    sweeper = Sweeper(tools.ports, tools.dispatcher, tools.timer.now)
    visibility_s = tools.config.queues.visibility_s
    while not await tools.timer.wait(stopping, visibility_s * random.uniform(0.75, 1.25)):
        try:
            await sweeper.run(visibility=timedelta(seconds=visibility_s))
        except MusterError as error:
            logger.warning(
                "not swept: %s", error.message, extra={"action": "sweep_failed", "code": error.code}
            )
        except Exception:
            # Unforeseen, such as an unreadable record. If it were raised, it would end all workers
            # and with them the work on all other jobs.
            logger.exception("sweeping broke", extra={"action": "sweep_broken"})


def read_config(kind: type[C]) -> C | None:
    """Return a process's configuration, or None if it is invalid.

    The faults are printed to standard error.
    """
    try:
        config = kind.read()
        config.storage.require()
    except InvalidConfiguration as error:
        for fault in error.details.get("faults", [Fault(error.code, error.message)]):
            code = f" ({fault.code})" if fault.code else ""
            print(f"Configuration{code}: {fault.sentence}", file=sys.stderr)
        return None
    except InvalidInput as error:
        print(f"Configuration ({error.code}): {error.message}", file=sys.stderr)
        return None
    return config


def main(
    argv: Sequence[str] | None = None,
    *,
    reached: Callable[[str], None] = nothing_happens,
    sender: WebhookSender | None = None,
) -> int:
    """Run a worker and return the exit status. `reached`: see `Tools`; `sender`: see `serve`."""
    keep_files_private()
    parser = argparse.ArgumentParser(
        prog=program_name("python -m worker.main"),
        description="Run a worker until Ctrl-C. It takes the steps of jobs from the queues.",
    )
    parser.add_argument(
        "--serves",
        choices=("all", "detect", "cpu"),
        help="queues to serve: detect (for machines with a GPU), cpu (all other steps) or all "
        "(default: MUSTER_SERVES, or all)",
    )
    serves = parser.parse_args(argv).serves
    config = read_config(WorkerConfig)
    if config is None:
        return 2
    if serves:
        chosen = config.worker.model_copy(update={"serves": serves})
        config = dataclasses.replace(config, worker=chosen)
    keep_freed_memory()
    worker_id = f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:4]}"
    secrets = secrets_of(config.storage, config.database, config.webhooks)
    configure_logging(config.logs.log_level, secrets=secrets, worker=worker_id)
    warn_of_unknown_variables()
    stop_tracing = start_tracing(config.traces, service="muster-worker", instance=worker_id)
    try:
        asyncio.run(serve(config, worker_id, reached=reached, sender=sender))
    except MusterError as error:
        logger.error(error.message, extra={"action": "worker_not_started", "code": error.code})
        return 1
    finally:
        stop_tracing()
    return 0


def run(argv: Sequence[str] | None = None) -> NoReturn:
    """Run a worker as the whole process, and exit."""
    status = main(argv)
    logging.shutdown()
    sys.stdout.flush()
    # An abandoned engine thread must not keep a stopped worker alive.
    os._exit(status)


if __name__ == "__main__":
    run()
