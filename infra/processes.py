"""Child processes: start, readiness, and the removal of those that an earlier run left behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from core.private_files import UMASK

LARGEST_LOG_BYTES = 32 * 2**20
"""Largest size of a process's log; as much again is kept of its previous log."""


class StartError(Exception):
    """A service did not start. The message states the reason and what to do."""


@contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Hold a lock on a file, so that one process at a time runs the code inside; others wait."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether a TCP server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Return TCP ports on loopback that are currently free."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def accepts_connections(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether a server listens on the port."""
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


class Child:
    """One child process with a log file and a pid file.

    Args:
        name: The name in messages, such as `worker`.
        argv: Command and arguments.
        run_dir: Folder of the pid and log files.
        env: The child's whole environment; default: empty. `infra.environments` lists what each
            program inherits.
        cwd: Working directory.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        run_dir: Path,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.log_path = run_dir / f"{name}.log"
        self._older_log = run_dir / f"{name}.log.1"
        self._pid_path = run_dir / f"{name}.pid"
        self._argv = list(argv)
        self._env = env or {}
        self._cwd = cwd
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process in a new session, which Ctrl-C on the terminal does not reach."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        if self.log_path.exists():
            self.log_path.replace(self._older_log)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self._argv,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
                umask=UMASK,
            )
        self._pid_path.write_text(f"{self.process.pid} {_start_ticks(self.process.pid)}\n")

    def rotate_log(self, largest_bytes: int = LARGEST_LOG_BYTES) -> None:
        """Move the contents of the log to `<name>.log.1` once it is too large.

        The process continues to write to the same file.
        """
        try:
            if self.log_path.stat().st_size <= largest_bytes:
                return
            shutil.copyfile(self.log_path, self._older_log)
            # The process opened the file in append mode, so it now writes at the beginning.
            os.truncate(self.log_path, 0)
        except OSError:
            # A full disk must not end the runner; the next call tries again.
            return

    def wait_ready(self, ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Wait until `ready` returns true.

        Raises:
            StartError: The process ended or was not ready in time; with the end of its log.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.process is None or self.process.poll() is not None:
                raise StartError(
                    f"The {self.name} ended at once. The end of {self.log_path}:\n{self.log_tail()}"
                )
            if time.monotonic() > deadline:
                raise StartError(
                    f"The {self.name} was not ready after {timeout_s:.0f} s. The end of "
                    f"{self.log_path}:\n{self.log_tail()}"
                )
            time.sleep(0.05)

    def log_tail(self, lines: int = 12) -> str:
        """Return the last lines of the log."""
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    @property
    def pid(self) -> int:
        """The id of the process that was started last.

        Raises:
            StartError: No process was started.
        """
        if self.process is None:
            raise StartError(f"The {self.name} was not started.")
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def stop(self, *, timeout_s: float = 15) -> None:
        """Stop the process with SIGTERM, after `timeout_s` with SIGKILL. Idempotent."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._pid_path.unlink(missing_ok=True)

    def kill(self) -> None:
        """Kill the process with SIGKILL and wait for it."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop_leftover(self, *, timeout_s: float = 15) -> bool:
        """Stop the process of an earlier run; return whether there was one.

        The pid file names the process. Nothing is stopped if that process no longer runs.
        """
        recorded = _read_pid_file(self._pid_path)
        if recorded is None:
            return False
        pid, ticks = recorded
        if _start_ticks(pid) != ticks:
            self._pid_path.unlink(missing_ok=True)
            return False
        _signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        while _start_ticks(pid) == ticks:
            if time.monotonic() > deadline:
                _signal(pid, signal.SIGKILL)
            time.sleep(0.05)
        self._pid_path.unlink(missing_ok=True)
        return True


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _read_pid_file(path: Path) -> tuple[int, str] | None:
    try:
        pid, ticks = path.read_text().split()
        return int(pid), ticks
    except (OSError, ValueError):
        return None


def _start_ticks(pid: int) -> str:
    # The pid alone may meanwhile belong to another program. Pid and start time together identify
    # one process.
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "gone"
    return "gone" if fields[0] in ("Z", "X") else fields[19]
