"""The filter of system calls refuses every call but those that decoding needs, and whatever is
tried harms nothing.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_engine.video.sandbox.confinement import Step, filter_steps
from ml_engine.video.sandbox.system_calls import ALLOWED, FIRST_NEWER, Call, Machine, machine_of
from tests.conftest import REPOSITORY

ALLOW, REFUSE, ABSENT, KILL = (
    0x7FFF0000,
    0x00050000 | errno.EPERM,
    0x00050000 | errno.ENOSYS,
    0x80000000,
)
PROCESS = 4711
ARCHITECTURES = ("x86_64", "aarch64")
THREAD = 0x003D0F00
"""With these flags glibc starts a thread; musl adds 0x400000."""
NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)


def _decision(steps: list[Step], number: int, *arguments: int, audit: int) -> int:
    """Do what the kernel does with a filter: return what it says of a call."""
    padded = [argument & 2**64 - 1 for argument in (*arguments, *[0] * 6)][:6]
    data = struct.pack("=IIQ6Q", number & 2**32 - 1, audit, 0, *padded)
    at = value = 0
    while True:
        code, if_true, if_false, operand = steps[at]
        at += 1
        if code == 0x20:
            value = struct.unpack_from("=I", data, operand)[0]
        elif code == 0x54:
            value &= operand
        elif code == 0x06:
            return operand
        else:
            holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[
                code
            ]
            at += if_true if holds else if_false


def _machine(architecture: str) -> Machine:
    machine = machine_of(architecture)
    assert machine is not None
    return machine


def _number(call: Call, architecture: str) -> int | None:
    return call.x86_64 if architecture == "x86_64" else call.aarch64


def _says(architecture: str, number: int, *arguments: int) -> int:
    machine = _machine(architecture)
    return _decision(filter_steps(machine, PROCESS), number, *arguments, audit=machine.audit)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_call_that_is_not_listed_is_refused(architecture: str) -> None:
    listed = {_number(call, architecture): call for call in ALLOWED}
    for number in (*range(700), 9999, 2**30 - 1):
        call = listed.get(number)
        if call is not None and call.rule is None:
            assert _says(architecture, number) == ALLOW, call.name
        elif call is None:
            expected = ABSENT if number >= FIRST_NEWER or number == 435 else REFUSE
            assert _says(architecture, number, 1, 2, 3) == expected, number


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_other_numberings_end_the_process(architecture: str) -> None:
    machine = _machine(architecture)
    assert _says(architecture, 0x40000000 | 1) == KILL
    assert _says(architecture, -1) == KILL
    for audit in {0xC000003E, 0xC00000B7, 0x40000003, 0x40000028} - {machine.audit}:
        assert _decision(filter_steps(machine, PROCESS), 0, audit=audit) == KILL
    assert machine_of("riscv64") is None and machine_of("armv7l") is None


DECIDED: dict[str, tuple[list[tuple[int, ...]], list[tuple[int, ...]]]] = {
    "clone": (
        [(THREAD,), (THREAD | 0x400000,)],
        [
            (0,),
            (17,),
            (0x4111,),
            (THREAD & ~0x10000,),
            *[(THREAD | flag,) for flag in (*NAMESPACES, 0x2000, 0x8000, 0x800000, 17)],
        ],
    ),
    "fcntl": (
        [(3, 1), (3, 2, 1), (3, 3), (3, 1030, 0)],
        [(3, command) for command in (0, 4, 5, 6, 8, 10, 15, 1024, 1026, 1029, 1031, 1033, 1035)],
    ),
    "mmap": (
        [(0, 4096, 3, 0x22), (0, 4096, 0, 0x22)],
        [(0, 4096, 7, 0x22), (0, 4096, 5, 2), (0, 4096, 4, 2)],
    ),
    "mprotect": ([(0, 4096, 3), (0, 4096, 0)], [(0, 4096, 4), (0, 4096, 5), (0, 4096, 7)]),
    "madvise": (
        [(0, 4096, 4), (0, 4096, 102)],
        [(0, 4096, 9), (0, 4096, 12), (0, 4096, 100), (0, 4096, 101)],
    ),
    "prctl": (
        [(15, 0)],
        [(option, 0) for option in (1, 3, 4, 22, 23, 24, 28, 38, 47, 59, 0x53564D41)],
    ),
    "tgkill": (
        [(PROCESS, PROCESS, 6)],
        [(1, 1, 9), (0, 1, 9), (-1, 1, 9), (PROCESS + 1, PROCESS, 9)],
    ),
    "futex": (
        [(0, 0), (0, 0x80), (0, 0x81), (0, 0x189), (0, 0x109), (0, 0x85), (0, 4)],
        [
            (0, operation | flags)
            for operation in (2, 6, 7, 8, 11, 12, 13, 14)
            for flags in (0, 0x80)
        ],
    ),
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_arguments_decide_where_they_matter(architecture: str) -> None:
    ruled = {call.name: call for call in ALLOWED if call.rule is not None}
    assert set(ruled) == set(DECIDED)
    for name, (allowed, refused) in DECIDED.items():
        number = _number(ruled[name], architecture)
        assert number is not None
        assert [_says(architecture, number, *arguments) for arguments in allowed] == [ALLOW] * len(
            allowed
        ), name
        assert [_says(architecture, number, *arguments) for arguments in refused] == [REFUSE] * len(
            refused
        ), name


def test_every_call_is_listed_once_and_has_a_reason() -> None:
    assert (
        len({call.name for call in ALLOWED})
        == len({call.x86_64 for call in ALLOWED})
        == len(ALLOWED)
    )
    assert all(len(call.reason) > 10 and call.x86_64 < FIRST_NEWER for call in ALLOWED)


EPERM, ENOSYS = errno.EPERM, errno.ENOSYS
ATTACKS: dict[str, tuple[int, int | None, str, int]] = {
    # Numbers on x86-64 and 64-bit ARM; arguments; the error.
    "chmod": (90, None, "path, 0o4777", EPERM),
    "fchmod": (91, 52, "held, 0o4777", EPERM),
    "fchmodat": (268, 53, "HERE, path, 0o4777", EPERM),
    "fchmodat2": (452, 452, "HERE, path, 0o4777, 0", ENOSYS),
    "setxattrat": (463, 463, "HERE, path, 0, b'user.x', 0, 0", ENOSYS),
    "cachestat": (451, 451, "held, 0, 0, 0", ENOSYS),
    "futex_wake": (454, 454, "0, 0, 0, 0", ENOSYS),
    "mseal": (462, 462, "0, 0, 0", ENOSYS),
    "statmount": (457, 457, "0, 0, 0, 0", ENOSYS),
    "lsm_set_self_attr": (460, 460, "0, 0, 0, 0", ENOSYS),
    "open_tree_attr": (467, 467, "HERE, path, 0, 0, 0", ENOSYS),
    "a number that nobody has": (9999, 9999, "0, 0", ENOSYS),
    "clone3 with namespaces": (
        435,
        435,
        "struct.pack('8Q', 0x7E020000, 0, 0, 0, 17, 0, 0, 0), 64",
        ENOSYS,
    ),
    "clone of a process": (56, 220, "17, 0, 0, 0, 0", EPERM),
    "clone into a namespace": (56, 220, "0x10000000 | 17, 0, 0, 0, 0", EPERM),
    "F_SETOWN": (72, 25, "pipe, 8, victim", EPERM),
    "F_SETSIG": (72, 25, "pipe, 10, 9", EPERM),
    "F_SETFL O_ASYNC": (72, 25, "pipe, 4, 0o20000", EPERM),
    "F_SETOWN_EX": (72, 25, "pipe, 15, struct.pack('ii', 1, victim)", EPERM),
    "F_SETLEASE": (72, 25, "held, 1024, 0", EPERM),
    "F_NOTIFY": (72, 25, "held, 1026, 4", EPERM),
    "F_SETLK": (72, 25, "held, 6, struct.pack('hhqqi', 0, 0, 0, 0, 0)", EPERM),
    "ioctl FIOASYNC": (16, 29, "pipe, 0x5452, struct.pack('i', 1)", EPERM),
    "ioctl FS_IOC_SETFLAGS": (16, 29, "held, 0x40086602, struct.pack('l', 0x40)", EPERM),
    "executable memory": (9, 222, "0, 4096, 7, 0x22, -1, 0", EPERM),
    "kill": (62, 129, "victim, 9", EPERM),
    "tgkill of another": (234, 131, "victim, victim, 9", EPERM),
    "tkill": (200, 130, "victim, 9", EPERM),
    "pidfd_open": (434, 434, "victim, 0", EPERM),
    "pidfd_getfd": (438, 438, "pipe, 0, 0", EPERM),
    "pidfd_send_signal": (424, 424, "pipe, 9, 0, 0", EPERM),
    "ptrace": (101, 117, "16, victim, 0, 0", EPERM),
    "process_vm_readv": (310, 270, "victim, 0, 0, 0, 0, 0", EPERM),
    "process_vm_writev": (311, 271, "victim, 0, 0, 0, 0, 0", EPERM),
    "prlimit64": (302, 261, "victim, 7, struct.pack('QQ', 0, 0), 0", EPERM),
    "setpriority": (141, 140, "0, victim, 19", EPERM),
    "sched_setaffinity": (203, 122, "victim, 8, struct.pack('Q', 1)", EPERM),
    "rt_sigqueueinfo": (129, 138, "victim, 9, bytes(128)", EPERM),
    "open": (2, None, "path, 2", EPERM),
    "openat": (257, 56, "HERE, path, 2", EPERM),
    "openat2": (437, 437, "HERE, path, bytes(24), 24", EPERM),
    "newfstatat": (262, 79, "HERE, path, bytes(256), 0", EPERM),
    "statx": (332, 291, "HERE, path, 0, 0xFFF, bytes(256)", EPERM),
    "unlinkat": (263, 35, "HERE, path, 0", EPERM),
    "renameat2": (316, 276, "HERE, path, HERE, b'/tmp/muster-renamed', 0", EPERM),
    "linkat": (265, 37, "HERE, path, HERE, b'/tmp/muster-linked', 0", EPERM),
    "fallocate": (285, 47, "held, 0, 0, 4096", EPERM),
    "copy_file_range": (326, 285, "held, 0, held, 0, 10, 0", EPERM),
    "splice": (275, 76, "held, 0, pipe, 0, 10, 0", EPERM),
    "name_to_handle_at": (303, 264, "HERE, path, bytes(200), bytes(8), 0", EPERM),
    "open_by_handle_at": (304, 265, "held, bytes(200), 0", EPERM),
    "socket": (41, 198, "2, 1, 0", EPERM),
    "socketpair": (53, 199, "1, 1, 0, bytes(8)", EPERM),
    "io_uring_setup": (425, 425, "8, bytes(120)", EPERM),
    "io_uring_enter": (426, 426, "held, 0, 0, 0, 0, 0", EPERM),
    "io_setup": (206, 0, "1, bytes(8)", EPERM),
    "memfd_create": (319, 279, "b'x', 0", EPERM),
    "memfd_secret": (447, 447, "0", EPERM),
    "userfaultfd": (323, 282, "0", EPERM),
    "bpf": (321, 280, "0, bytes(64), 64", EPERM),
    "perf_event_open": (298, 241, "bytes(112), 0, -1, -1, 0", EPERM),
    "keyctl": (250, 219, "0, -3, 0", EPERM),
    "add_key": (248, 217, "b'user', b'x', b'y', 1, -2", EPERM),
    "setns": (308, 268, "held, 0", EPERM),
    "unshare": (272, 97, "0x10000000", EPERM),
    "open_tree": (428, 428, "HERE, b'/', 1", EPERM),
    "move_mount": (429, 429, "held, b'', HERE, b'/', 0", EPERM),
    "fsopen": (430, 430, "b'tmpfs', 0", EPERM),
    "fsconfig": (431, 431, "held, 0, 0, 0, 0", EPERM),
    "fsmount": (432, 432, "held, 0, 0", EPERM),
    "fspick": (433, 433, "HERE, b'/', 0", EPERM),
    "mount": (165, 40, "0, b'/', 0, 0x1000, 0", EPERM),
    "landlock_create_ruleset": (444, 444, "0, 0, 1", EPERM),
    "landlock_restrict_self": (446, 446, "held, 0", EPERM),
    "seccomp": (317, 277, "2, 0, bytes(4)", EPERM),
    "prctl PR_SET_DUMPABLE": (157, 167, "4, 1, 0, 0, 0", EPERM),
    "prctl PR_SET_PDEATHSIG": (157, 167, "1, 9, 0, 0, 0", EPERM),
    "fork": (57, None, "", EPERM),
    "execve": (59, 221, "b'/bin/true', 0, 0", EPERM),
    "setuid": (105, 146, "0", EPERM),
    "shmget": (29, 194, "0, 4096, 0o1600", EPERM),
    "mq_open": (240, 180, "b'muster', 0o102, 0o600, 0", EPERM),
    "inotify_init1": (294, 26, "0", EPERM),
    "timer_create": (222, 107, "0, 0, bytes(4)", EPERM),
    "personality": (135, 92, "0x0400000", EPERM),
    "membarrier": (324, 283, "0, 0, 0", EPERM),
    "dup2": (33, None, "held, 1", EPERM),
    "dup3": (292, 24, "held, 1, 0", EPERM),
}

_ATTACKER = """
import ctypes, json, os, struct, sys
from ml_engine.video.sandbox.confinement import Allowance, confine
path, victim, pipe, HERE = os.fsencode(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), -100
held = os.open(path, os.O_RDONLY)
attacks, call = json.loads(sys.argv[4]), ctypes.CDLL(None, use_errno=True).syscall
call.restype = ctypes.c_long
assert confine(Allowance(memory_bytes=2**28, cpu_s=30)) == []
seen = {}
for name, (number, arguments) in attacks.items():
    given = eval(f"({arguments}{',' * bool(arguments)})")
    given = [ctypes.c_long(value) if isinstance(value, int) else ctypes.create_string_buffer(value) for value in given]
    seen[name] = ctypes.get_errno() if call(ctypes.c_long(number), *given) == -1 else 0
os.write(1, json.dumps(seen).encode())
os._exit(0)
"""

linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="the filter of system calls is Linux's"
)


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """Another process of this user, which also waits at the other end of a pipe that the attacker
    holds.
    """
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def _attack(
    path: Path, victim: int, attacks: dict[str, tuple[int, int | None, str, int]]
) -> subprocess.CompletedProcess[str]:
    column = ARCHITECTURES.index(platform.machine())
    chosen = {
        name: (row[column], row[2]) for name, row in attacks.items() if row[column] is not None
    }
    reader, writer = os.pipe()
    # Something to read: whoever is told of input on this pipe is told at once.
    os.write(writer, b"x")
    argv = [
        sys.executable,
        "-c",
        _ATTACKER,
        str(path),
        str(victim),
        str(reader),
        json.dumps(chosen),
    ]
    try:
        return subprocess.run(
            argv, capture_output=True, text=True, cwd=REPOSITORY, pass_fds=(reader,), timeout=120
        )
    finally:
        os.write(writer, b"y")
        os.close(reader)
        os.close(writer)


@linux_only
def test_attacks_are_refused_and_harm_nothing(
    tmp_path: Path, victim: subprocess.Popen[bytes]
) -> None:
    path = tmp_path / "mine"
    path.write_bytes(b"content")
    path.chmod(0o600)
    before = (
        os.stat(path),
        sorted(os.listdir(tmp_path)),
        os.getpriority(os.PRIO_PROCESS, victim.pid),
        os.sched_getaffinity(victim.pid),
    )
    done = _attack(path, victim.pid, ATTACKS)
    assert done.stderr == ""
    seen = json.loads(done.stdout)
    assert {name: errno.errorcode.get(number, "done") for name, number in seen.items()} == {
        name: errno.errorcode[ATTACKS[name][3]] for name in seen
    }
    assert len(seen) >= len(ATTACKS) - 4
    after = (
        os.stat(path),
        sorted(os.listdir(tmp_path)),
        os.getpriority(os.PRIO_PROCESS, victim.pid),
        os.sched_getaffinity(victim.pid),
    )
    assert before == after and path.read_bytes() == b"content"
    assert victim.poll() is None


@linux_only
@pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64 alone has a second numbering")
def test_the_second_numbering_of_x86_64_ends_the_process(
    tmp_path: Path, victim: subprocess.Popen[bytes]
) -> None:
    path = tmp_path / "mine"
    path.touch()
    done = _attack(
        path, victim.pid, {"write by its other number": (0x40000001, None, "1, b'x', 1", 0)}
    )
    assert (done.returncode, done.stdout) == (-signal.SIGSYS, "")
