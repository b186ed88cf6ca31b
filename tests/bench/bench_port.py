"""What the limits of the port cost: uploads and polls with them and without, in turn, over the same
Azurite and database.
"""

from __future__ import annotations

import http.client
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from infra.processes import Child, accepts_connections, free_ports
from tests.bench.bench_upload import BLOCK, MIB
from tests.bench.figures import Figure, markdown_table, ratio_figure
from tests.support.raw_upload import CONTENT_TYPE, HEAD, TAIL, post_video
from tests.support.servers import start_azurite
from tests.support.slow_clients import UNFINISHED, opened, standing_upload
from tests.support.stack import REPOSITORY, Stack

AT_LEAST = 0.95


def measure(*, pairs: int = 11, upload_mib: int = 48, polls: int = 100) -> list[Figure]:
    """Run the benchmark.

    Args:
        pairs: How many pairs of each kind.
        upload_mib: Size of each upload, MiB.
        polls: How often a job is asked for in one half of a pair.
    """
    with tempfile.TemporaryDirectory() as folder:
        azurite = start_azurite(Path(folder) / "azurite")
        stack = Stack(
            azurite, Path(folder) / "stack", lambda prefix: f"{prefix}-{uuid.uuid4().hex[:12]}", {}
        )
        (port,) = free_ports(1)
        argv = [
            sys.executable,
            "-m",
            "uvicorn",
            "tests.bench.unguarded:app",
            "--port",
            str(port),
            "--no-access-log",
        ]
        bare = Child("unguarded", argv, run_dir=stack.base, env=stack.env, cwd=REPOSITORY)
        try:
            stack.start_api()
            bare.start()
            ready = f"http://127.0.0.1:{port}/health/ready"
            bare.wait_ready(
                lambda: accepts_connections(port) and httpx.get(ready).is_success, timeout_s=60
            )
            servers = (_Server(stack.port, stack.api.pid), _Server(port, bare.pid))
            return [*_measure(*servers, pairs, upload_mib, polls), *_under_attack(stack.port)]
        finally:
            bare.stop()
            stack.stop()
            azurite.stop()


@dataclass(frozen=True, slots=True)
class _Server:
    port: int
    pid: int

    def cpu_s(self) -> float:
        """Return the processor's time that all its threads have used, to the nanosecond: the load
        of the machine prolongs it little.
        """
        tasks = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def timed(self, work: Callable[[int], object]) -> tuple[float, float]:
        """Do some work on this server; return the seconds that passed, and those that the server
        used.
        """
        cpu_s, began_s = self.cpu_s(), time.perf_counter()
        work(self.port)
        return time.perf_counter() - began_s, self.cpu_s() - cpu_s


def _measure(
    guarded: _Server, bare: _Server, pairs: int, upload_mib: int, polls: int
) -> list[Figure]:
    figures = []
    for what, number, work in (
        (f"upload of {upload_mib} MiB", pairs, lambda port: _upload(port, upload_mib)),
        (
            f"upload of {upload_mib} MiB in chunks of 1 MiB",
            pairs,
            lambda port: _upload_chunked(port, upload_mib),
        ),
        (f"{polls} polls on one connection", 2 * pairs, lambda port: _poll(port, polls)),
        (
            f"{polls} polls, each on its own connection",
            2 * pairs,
            lambda port: _poll_afresh(port, polls),
        ),
    ):
        bare.timed(work), guarded.timed(work)
        speed, cpu = [], []
        for pair in range(number):
            first, second = (bare, guarded) if pair % 2 == 0 else (guarded, bare)
            found = {first: first.timed(work), second: second.timed(work)}
            speed.append(found[bare][0] / found[guarded][0])
            cpu.append(found[bare][1] / found[guarded][1])
        figures.append(ratio_figure(f"{what}: speed with the limits over speed without", speed))
        figures.append(
            ratio_figure(
                "… work per CPU second of the server, with the limits over without",
                cpu,
                at_least=AT_LEAST,
            )
        )
    return figures


def _under_attack(port: int) -> list[Figure]:
    """Measure what others notice while 1100 connections and 100 uploads stand."""
    with opened(port, 1100, UNFINISHED), opened(port, 100, standing_upload()):
        answers_s = []
        for _ in range(20):
            began_s = time.perf_counter()
            _ask(http.client.HTTPConnection("127.0.0.1", port, timeout=30), "/health/live")
            answers_s.append(time.perf_counter() - began_s)
        began_s = time.perf_counter()
        _upload(port, 8)
        upload_s = time.perf_counter() - began_s
    median_s = statistics.median(answers_s)
    figure = f"median {median_s * 1000:.0f} ms, longest {max(answers_s) * 1000:.0f} ms"
    what = "20 responses of `/health/live` with 1100 idle connections and 100 stalled uploads"
    return [
        Figure(what, figure, "≤ 500 ms", median_s <= 0.5),
        Figure("an upload of 8 MiB at the same time", f"{upload_s:.2f} s"),
    ]


def _upload(port: int, size_mib: int) -> None:
    status, body = post_video(port, (BLOCK for _ in range(size_mib // 4)), size_mib * MIB)
    if status != 202:
        raise RuntimeError(f"the API answered {status}: {body[:500]!r}")


def _upload_chunked(port: int, size_mib: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    pieces = [HEAD, *(BLOCK[:MIB] for _ in range(size_mib)), TAIL]
    connection.request(
        "POST", "/api/v1/jobs", iter(pieces), {"Content-Type": CONTENT_TYPE}, encode_chunked=True
    )
    answer = connection.getresponse()
    if answer.status != 202:
        raise RuntimeError(f"the API answered {answer.status}: {answer.read()[:500]!r}")
    connection.close()


def _poll_afresh(port: int, times: int) -> None:
    for _ in range(times):
        _poll(port, 1)


def _poll(port: int, times: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(times):
        _ask(connection, "/api/v1/jobs?limit=1")
    connection.close()


def _ask(connection: http.client.HTTPConnection, path: str) -> None:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise RuntimeError(f"the API answered {answer.status}")


if __name__ == "__main__":
    print(markdown_table(measure()))
