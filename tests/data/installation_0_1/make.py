"""The maker of an installation as release 0.1 (commit 5549ce6) left it, with jobs in every state. Its command, from the top folder:

    .venv/bin/python tests/data/installation_0_1/make.py

The release's own code runs, unpacked from git into a temporary folder, with the present interpreter: its API, its workers, its sweeper.
Workers are killed (SIGKILL) at chosen points, so that jobs, messages and blobs stay as a power cut leaves them. Nothing is written by
hand. It takes about two minutes.

Written, beside this file:
    installation.tar.xz: `azurite/` (Azurite's folder), `data/muster.sqlite3`, `film.mp4` and `film.srt` (what was submitted).
    expected.json: what the release says of it, `jobs` by what they were made for, and the SHA-256 of every blob. `unpublished` are
        results of an attempt that a later one replaced: the release deletes those after an hour.

The last leases end three minutes after it was made: until then no worker gets the messages of killed ones. A machine whose clock is behind
that of the one that made it waits longer.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from expected import COMMIT, FLIGHT, SETTINGS, what_there_is
from films import SEGMENT_FRAMES, SRT, write_films

HERE = Path(__file__).resolve().parent
NAMES = {"raw": "raw-videos", "out": "processed-videos", "jobs": "video-processing-queue"}
"""The release's defaults."""
WEBHOOK = "https://hooks.example.org/muster"


def main() -> None:
    """Unpack the release, let it make the installation, pack that."""
    with tempfile.TemporaryDirectory(prefix="muster-0.1-") as name:
        release, base = Path(name) / "release", Path(name) / "base"
        for folder in (release, base):
            folder.mkdir()
        packed = subprocess.run(
            ["git", "-C", str(HERE.parents[2]), "archive", "--format=tar", COMMIT],
            check=True,
            capture_output=True,
        )
        subprocess.run(["tar", "-x", "-C", str(release)], input=packed.stdout, check=True)
        env = {**os.environ, "PYTHONPATH": str(release)}
        subprocess.run(
            [sys.executable, str(Path(__file__)), "inside", str(base)],
            env=env,
            cwd=release,
            check=True,
        )
        shutil.copyfile(base / "expected.json", HERE / "expected.json")
        with tarfile.open(HERE / "installation.tar.xz", "w:xz", preset=9) as archive:
            for part in ("azurite", "data/muster.sqlite3", "film.mp4", "film.srt"):
                archive.add(base / part, part, filter=_without_owner)


def _without_owner(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def work_until(point: str) -> None:
    """Run a worker of the release that ends at `NAME` or `NAME:CALL` as `kill -9` would end it; a name is that of a function of the
    engine, of a point that the release knows, or `send`: a webhook's delivery.
    """
    import worker.main
    from core.ports import WebhookSender

    name, _, number = point.partition(":")
    calls, real_engine = itertools.count(1), worker.main.real_engine

    def reached(place: str) -> None:
        if place == name and next(calls) == int(number or 1):
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(function: Callable[..., Any], place: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            reached(place)
            return function(*args, **options)

        return call

    def engine(*args: Any) -> Any:
        made = real_engine(*args)
        places = ("plan_segments", "detect_segment", "assemble", "render")
        return dataclasses.replace(
            made, **{place: watched(getattr(made, place), place) for place in places}
        )

    class Sender(WebhookSender):
        async def send(self, *args: Any, **options: Any) -> Any:
            reached("send")
            raise AssertionError("nothing is to be sent")

    worker.main.real_engine = engine
    status = worker.main.main([], reached=reached, sender=Sender())
    sys.stdout.flush()
    os._exit(status)


class Maker:
    """The release at work.

    Args:
        stack: Its API runs.
        base: Where the films lie.

    Attributes:
        ids: Of jobs, by what they were made for.
    """

    def __init__(self, stack: Any, base: Path) -> None:
        self.stack = stack
        self.film = (base / "film.mp4").read_bytes()
        self.empty_film = (base / "without_persons.mp4").read_bytes()
        self.ids: dict[str, str] = {}

    def submit(
        self,
        name: str,
        *,
        film: bytes | None = None,
        key: bool = False,
        webhook: bool = False,
        srt: bool = False,
        **more,
    ) -> None:
        """Submit a job of this name."""
        files = [("file", ("film.mp4", film or self.film, "video/mp4"))]
        files += [("telemetry", ("film.srt", SRT.encode(), "text/plain"))] * srt
        data = {"settings": json.dumps(SETTINGS | more)} | ({"webhook": WEBHOOK} if webhook else {})
        headers = {"Idempotency-Key": f"key-of-{name}"} if key else {}
        answer = self.stack.client.post("/api/v1/jobs", files=files, data=data, headers=headers)
        assert answer.status_code == 202, answer.text
        self.ids[name] = answer.json()["id"]

    def ended(self, *names: str) -> None:
        """Wait until these jobs have ended."""
        for name in names:
            state = self.stack.wait(self.ids[name])["state"]
            assert state == ("failed" if name == "failed" else "completed"), (
                f"{name} is {state}\n{self.stack.workers[-1].log_tail(30)}"
            )

    @contextmanager
    def worker(self, point: str) -> Iterator[Any]:
        """Let a worker run while the context lasts."""
        from infra.processes import Child

        argv = [sys.executable, __file__, "worker", point]
        child = Child(
            f"worker-{len(self.stack.workers)}",
            argv,
            run_dir=self.stack.base,
            env=self.stack.env,
            cwd=Path.cwd(),
        )
        self.stack.workers.append(child)
        child.start()
        yield child
        child.stop()

    def killed_at(self, point: str, name: str, **options: Any) -> None:
        """Submit a job, whose worker is killed at a point."""
        self.submit(name, **options)
        with self.worker(point) as child:
            assert child.process.wait(120) == -signal.SIGKILL, child.log_tail(40)

    def end_some(self) -> None:
        """Make the jobs that end; two of them expire."""
        with self.worker("never"):
            self.submit("expired", film=self.empty_film, render=False)
            self.submit("expired_with_results", render=False)
            self.ended("expired", "expired_with_results")
            assert self._sweep() == 2
            assert [
                self.stack.job(self.ids[name])["expired"]
                for name in ("expired", "expired_with_results")
            ] == [
                ["sources"],
                ["sources", "results"],
            ]
            self.submit("completed", key=True)
            self.submit("completed_without_video", render=False)
            self.submit("failed", film=self.film[: len(self.film) // 2])
            self.submit("recounted")
            self._send_junk()
            self.ended("completed", "completed_without_video", "failed", "recounted")
            recount = self.stack.client.post(
                f"/api/v1/jobs/{self.ids['recounted']}/recount",
                json=SETTINGS | {"classes": ["cattle"]},
            )
            assert recount.status_code == 202, recount.text
            job = self.stack.wait(
                self.ids["recounted"],
                until=lambda job: job["attempt"] == 2 and job["state"] == "completed",
            )
            assert list(job["counts"]) == ["cattle"]

    def stop_some(self) -> None:
        """Make the jobs whose worker is killed. Their messages are leased then; those of the last one are not, so it comes last."""
        self.killed_at("statistics_not_written", "completed_without_statistics", render=False)
        self.killed_at("send", "completed_untold", render=False, webhook=True)
        self.killed_at("plan_segments", "planning", render=False)
        self.killed_at("assemble", "assembling", render=False, webhook=True)
        self.killed_at("assembling_not_sent", "assembling_unasked", render=False)
        self.killed_at("render", "rendering")
        self.killed_at("detect_segment:3", "detecting", render=False, srt=True, flight=FLIGHT)

    def leave_some(self) -> list[str]:
        """Leave jobs that no worker has seen, uploads that no job was made of, and the blobs of a submission whose API was killed.

        Returns:
            The ids of the uploads.
        """
        from tests.stack import DyingApis

        client = self.stack.client
        self.submit("queued", render=False, key=True)
        self.submit("cancelled", render=False)
        client.post(f"/api/v1/jobs/{self.ids['cancelled']}/cancel").raise_for_status()
        uploads = []
        for _ in range(2):
            link = (
                client.post("/api/v1/uploads", json={"size_bytes": len(self.film)})
                .raise_for_status()
                .json()
            )
            client.request(
                link["method"], link["url"], headers=link["headers"], content=self.film
            ).raise_for_status()
            uploads.append(link["upload_id"])
        apis = DyingApis(self.stack.env)
        try:
            apis.post(
                "before:jobs.add:1",
                files=[("file", ("film.mp4", self.film))],
                data={"settings": json.dumps(SETTINGS)},
            )
        finally:
            apis.stop()
        return uploads

    def _sweep(self) -> int:
        """Expire all jobs that have ended; return how many."""
        from core.domain.clock import utc_now
        from core.domain.housekeeping import HousekeepingRules
        from core.services.dispatch import Dispatcher
        from core.services.housekeeping import Housekeeping

        hour = timedelta(hours=1)
        rules = HousekeepingRules(
            visibility=hour, least_age=hour, upload_life=hour, keep=timedelta(0)
        )

        async def run(ports: Any) -> Any:
            return await Housekeeping(
                ports, Dispatcher(ports.queue, ports.detect_queue), utc_now, rules
            ).run()

        return self.stack.with_ports(run).expired

    def _send_junk(self) -> None:
        self.stack.with_ports(lambda ports: ports.queue.send(b"a message of some other program"))


def make(base: Path) -> None:
    """Make the installation in a folder. Runs in the release's own folder."""
    from tests.networks import share_networks
    from tests.servers import start_azurite
    from tests.stack import Stack

    write_films(base)
    share_networks(base / "data")
    azurite = start_azurite(base)
    settings = {
        "MUSTER_SEGMENT_FRAMES": str(SEGMENT_FRAMES),
        "MUSTER_SWEEP_S": "0",
        # No worker gets a killed one's message, and none sweeps, before all of this is done.
        "MUSTER_VISIBILITY_S": "180",
        "MUSTER_WEBHOOK_SECRET": "of the installation that tests upgrade",
    }
    stack = Stack(azurite, base, NAMES.__getitem__, settings)
    try:
        stack.start_api()
        maker = Maker(stack, base)
        maker.end_some()
        maker.stop_some()
        uploads = maker.leave_some()
        expected = what_there_is(maker.stack, maker.ids, uploads)
    finally:
        stack.stop()
        azurite.stop()
    (base / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    with sqlite3.connect(base / "data" / "muster.sqlite3") as database:
        assert database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    database.close()
    assert not (base / "data" / "muster.sqlite3-wal").exists()


if __name__ == "__main__":
    if sys.argv[1:2] == ["inside"]:
        make(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["worker"]:
        work_until(sys.argv[2])
    else:
        main()
