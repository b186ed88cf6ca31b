"""The confinement of the process that decodes, before it reads the first byte of an uploaded file.

Restrictions that the operating system does not offer are reported, so that the parent process can
decide. Linux offers all of them, to every user and in containers. macOS offers all limits except
that of memory, and no filter of system calls.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass

from ml_engine.video.sandbox.system_calls import FIRST_NEWER, Machine, Rule, machine_of

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 22, 38, 2
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT, _ARGUMENT_BYTES = 0, 4, 16, 8
_X32_BIT = 0x40000000
Step = tuple[int, int, int, int]
"""An instruction of a filter: code, jump if true, jump if false, operand."""
FILTER = "system calls"
"""The name reported where the kernel accepts no filter. A file that takes over the decoder can then
do whatever the decoder's user can.
"""
_OOM_SCORE = "500"
"""Where the machine runs out of memory, the kernel ends this process before the worker."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """The resources that a decoding process may use.

    Attributes:
        memory_bytes: Address space beyond what the process has when it is confined.
        cpu_s: Seconds of processor time, summed over its threads.
        descriptors: Largest number of open files.
    """

    memory_bytes: int
    cpu_s: int
    descriptors: int = 24


def confine(allowance: Allowance) -> list[str]:
    """Remove from this process all rights that decoding of open files does not need.

    This cannot be undone. The process must have one thread, and all the modules that it needs must
    be imported.

    Args:
        allowance: The resources that it may use.

    Returns:
        Names of the restrictions that the system does not offer, for people to read.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        # A terminal and a service manager send these signals to all processes. The parent process
        # decides when this one ends.
        signal.signal(number, signal.SIG_IGN)
    missing = []
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(_OOM_SCORE)
    missing += _limit(allowance)
    if not _filter_calls():
        missing.append(FILTER)
    return missing


def _limit(allowance: Allowance) -> list[str]:
    try:
        import resource
    except ImportError:
        return ["memory", "processor time", "open files"]
    missing = []
    limits = [
        ("processor time", resource.RLIMIT_CPU, allowance.cpu_s),
        ("open files", resource.RLIMIT_NOFILE, allowance.descriptors),
        ("written bytes", resource.RLIMIT_FSIZE, 0),
        ("core dumps", resource.RLIMIT_CORE, 0),
    ]
    in_use = _address_space()
    if in_use is None:
        missing.append("memory")
    else:
        limits.append(("memory", resource.RLIMIT_AS, in_use + allowance.memory_bytes))
    for name, kind, value in limits:
        try:
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            # The signal for exceeding the processor time is sent at the lower limit.
            resource.setrlimit(
                kind, (value, value + 1 if kind == resource.RLIMIT_CPU and hard != value else value)
            )
        except (OSError, ValueError):
            missing.append(name)
    return missing


def _address_space() -> int | None:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def _filter_calls() -> bool:
    """Have the kernel refuse every system call that decoding does not need (seccomp, Linux)."""
    machine = (
        machine_of(platform.machine())
        if sys.platform == "linux" and struct.calcsize("P") == 8
        else None
    )
    if machine is None:
        return False
    program = b"".join(struct.pack("=HBBI", *step) for step in filter_steps(machine, os.getpid()))
    code = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(
        struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    )
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(header), 0, 0) == 0)


def filter_steps(machine: Machine, process: int) -> list[Step]:
    """Return the filter as instructions of the Berkeley packet filter.

    A call that is not allowed fails with EPERM. It fails with ENOSYS where a C library should use
    an older call instead.

    Args:
        machine: The architecture's numbers.
        process: Id of the process that will be filtered.
    """
    absent = _ERRNO | errno.ENOSYS
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, machine.audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        # The second numbering of x86-64, which no program of this process uses.
        (_AT_LEAST, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _KILL),
    ]
    for number, rule in machine.allowed:
        decided = [(_RETURN, 0, 0, _ALLOW)] if rule is None else _rule_steps(rule, process)
        steps += [(_EQUAL, 0, len(decided), number), *decided]
    steps += [(_EQUAL, 0, 1, machine.clone3), (_RETURN, 0, 0, absent)]
    steps += [(_AT_LEAST, 0, 1, FIRST_NEWER), (_RETURN, 0, 0, absent)]
    return [*steps, (_RETURN, 0, 0, _ERRNO | errno.EPERM)]


def _rule_steps(rule: Rule, process: int) -> list[Step]:
    """Return the instructions that decide on a call by its argument."""
    allow, refuse = (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    steps = [(_LOAD, 0, 0, _ARGUMENTS_AT + rule.argument * _ARGUMENT_BYTES)]
    if rule.without:
        steps += [(_ANY_BIT, 0, 1, rule.without), refuse]
    if rule.needed:
        steps += [(_ANY_BIT, 1, 0, rule.needed), refuse]
    values = (process,) if rule.own_process else rule.values
    if values is None:
        return [*steps, allow]
    if rule.ignored:
        steps.append((_AND, 0, 0, 0xFFFFFFFF & ~rule.ignored))
    for value in values:
        steps += [(_EQUAL, 0, 1, value), allow]
    return [*steps, refuse]
