"""`make run`: all of Muster on one machine, with the sample video counted, until Ctrl-C."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from core.config.processes import RunConfig
from core.domain.interval import INTERVAL_NOTE
from core.domain.results import ClassCounts
from core.errors import InvalidInput
from core.program_name import CommandParser, program_name
from infra.local_stack import LocalStack
from infra.processes import StartError

SAMPLE = Path(__file__).parents[1] / "ml_engine" / "samples" / "pasture.mp4"
TRUTH = SAMPLE.with_suffix(".truth.json")


class _Interrupted(Exception):
    pass


def main(argv: Sequence[str] | None = None) -> int:
    """Run until Ctrl-C or SIGTERM; return the exit status."""
    CommandParser(
        prog=program_name("python -m infra.run"),
        description="Start Azurite, the API and a worker on this machine, count the sample video, "
        "and serve until Ctrl-C. MUSTER_PORT (8000) is the port, MUSTER_DATA_DIR the data folder.",
    ).parse_args(argv)
    console = Console(soft_wrap=True)
    try:
        config = RunConfig.read().run
    except InvalidInput as error:
        console.print(f"Muster cannot run: {error}", style="red", markup=False, highlight=False)
        return 1
    folder = config.data_dir
    stack = LocalStack(folder, port=config.port)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        for name in stack.prepare():
            console.print(f"Stopped the {name} that an earlier run left behind.")
        console.print("Starting Azurite, the API and a worker …")
        stack.start()
        with httpx.Client(base_url=stack.url, timeout=30) as client:
            _show_sample(client, console)
        console.print(
            f"\nServing on {stack.url} (documentation: {stack.url}/docs). Data and logs: "
            f"{folder}\nCtrl-C stops everything."
        )
        return _serve(stack, console)
    except StartError as error:
        console.print(f"Muster cannot run: {error}", style="red", markup=False, highlight=False)
        return 1
    except (_Interrupted, KeyboardInterrupt):
        return 0
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if stack.azurite is not None:
            console.print("Stopping the API, the worker, then Azurite …")
        stack.stop()


def _interrupt(number: int, frame: object) -> None:
    raise _Interrupted


def _serve(stack: LocalStack, console: Console) -> int:
    while True:
        time.sleep(0.5)
        stack.rotate_logs()
        for part in stack.ended():
            if part is stack.worker:
                console.print(
                    "The worker ended unexpectedly. Starting another one, which continues its job."
                )
                stack.start_worker()
            else:
                console.print(
                    f"The {part.name} ended unexpectedly. The end of "
                    f"{part.log_path}:\n{part.log_tail()}",
                    style="red",
                    markup=False,
                )
                return 1


def _show_sample(client: httpx.Client, console: Console) -> None:
    listed = client.get("/api/v1/jobs", params={"limit": 5}).raise_for_status().json()["items"]
    if listed:
        console.print("Earlier jobs (nothing is submitted again):")
        for job in listed:
            console.print(
                f"  {job['id']}  {job['state']}  {', '.join(f['name'] for f in job['files'])}",
                highlight=False,
            )
        return
    job = _submit(client)
    console.print(f"Submitted the sample video as job {job['id']}.", highlight=False)
    job = _follow(client, job["id"])
    if job["state"] != "completed":
        error = job.get("error") or {}
        console.print(
            f"The job ended as {job['state']}: {error.get('message', 'no reason given')}",
            style="red",
            markup=False,
        )
        return
    counts = {name: ClassCounts.model_validate(each) for name, each in job["counts"].items()}
    console.print(_table(counts))
    console.print(INTERVAL_NOTE, highlight=False)
    base = str(client.base_url).rstrip("/") + f"/api/v1/jobs/{job['id']}"
    for what, name in (
        ("Contact sheet:  ", "/contact_sheet.jpg"),
        ("Annotated video:", "/annotated.mp4"),
        ("All results:    ", ""),
    ):
        console.print(f"{what} {base}/artifacts{name}", highlight=False)


class _Progress(TypedDict):
    fraction: float


class _Job(TypedDict):
    """The keys of a job that are shown."""

    id: str
    state: str
    progress: _Progress
    counts: dict[str, object]
    error: dict[str, str] | None


def _submit(client: httpx.Client) -> _Job:
    with open(SAMPLE, "rb") as video:
        answer = client.post(
            "/api/v1/jobs",
            files={"file": (SAMPLE.name, video, "video/mp4")},
            data={"settings": json.dumps({"camera": "sample"})},
            headers={"Idempotency-Key": "muster-sample"},
        )
    job: _Job = answer.raise_for_status().json()
    return job


def _follow(client: httpx.Client, job_id: str) -> _Job:
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, disable=not sys.stdout.isatty()) as progress:
        bar = progress.add_task("queued", total=1.0)
        shown = ""
        while True:
            job: _Job = client.get(f"/api/v1/jobs/{job_id}").raise_for_status().json()
            progress.update(bar, description=job["state"], completed=job["progress"]["fraction"])
            if progress.disable and job["state"] != shown:
                print(f"  {job['state']}", flush=True)
            shown = job["state"]
            if shown in ("completed", "failed", "cancelled"):
                return job
            time.sleep(0.25)


def _table(counts: Mapping[str, ClassCounts]) -> Table:
    truth = json.loads(TRUTH.read_text())["counts"]
    table = Table(title="Counts of the sample video, and the true numbers")
    for heading in ("class", "unique", "truth", "low–high", "peak", "truth", "mean per frame"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for name, count in counts.items():
        true = truth.get(name, {"unique": 0, "peak": 0})
        figures = (
            count.unique,
            true["unique"],
            f"{count.low}–{count.high}",
            count.peak,
            true["peak"],
            f"{count.mean:.1f}",
        )
        table.add_row(name, *map(str, figures))
    return table


if __name__ == "__main__":
    sys.exit(main())
