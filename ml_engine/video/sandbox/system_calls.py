"""The Linux system calls that the decoding of an open file needs, each with its reason. The filter
refuses every other call.

Numbers are from the kernel's tables. The purpose of a call was found by tracing decoders of every
kind of video, and by reading which calls other versions of the C libraries glibc and musl make in
the same places.
"""

from __future__ import annotations

from dataclasses import dataclass

_THREAD = 0x00010000
_THREAD_FLAGS = 0x007D0F00
"""The flags with which glibc and musl start a thread: shared memory, files and signal handlers,
thread-local storage, thread ids.
"""
_EXECUTABLE = 0x4
_FUTEX_FLAGS = 128 | 256
"""Private to this process; real-time clock."""

FIRST_NEWER = 451
"""Calls from this number on are newer than this list.

The filter reports that they do not exist, so that a C library uses older ones.
"""


@dataclass(frozen=True, slots=True)
class Rule:
    """The arguments that a call may have.

    Each value is the lower half of a 64-bit argument, which is all that the kernel reads of these
    arguments.

    Attributes:
        argument: Position of the argument, from 0.
        values: Values that are allowed; None for all.
        ignored: Bits that are ignored when values are compared.
        without: Bits that must not be set.
        needed: Bit that must be set; 0 for none.
        own_process: Whether the argument must be the id of the calling process.
    """

    argument: int
    values: tuple[int, ...] | None = None
    ignored: int = 0
    without: int = 0
    needed: int = 0
    own_process: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is allowed.

    Attributes:
        name: Linux's name of the call.
        x86_64: Its number on x86-64.
        aarch64: Its number on 64-bit ARM; None where that has no such call.
        reason: Why decoding needs it.
        rule: The arguments that it may have; None for any.
    """

    name: str
    x86_64: int
    aarch64: int | None
    reason: str
    rule: Rule | None = None


# fmt: off
ALLOWED: tuple[Call, ...] = (
    Call("futex", 202, 98,
         "locks and conditions of threads; without priority inheritance (6 to 8, 11 to 13), which "
         "is not used",
         Rule(1, values=(0, 1, 3, 4, 5, 9, 10), ignored=_FUTEX_FLAGS)),
    Call("read", 0, 63, "the video, and which slots are free again"),
    Call("write", 1, 64,
         "messages on standard output; the limit of written bytes prevents writing to files"),
    Call("writev", 20, 66, "how the C libraries write their last messages"),
    Call("pread64", 17, 67, "the process's own peak of memory, from a descriptor that is open"),
    Call("lseek", 8, 62, "places in the video"),
    Call("fstat", 5, 80, "FFmpeg asks for the size of the video"),
    Call("dup", 32, 23, "FFmpeg opens a descriptor by copying it"),
    Call("fcntl", 72, 25,
         "FFmpeg marks its copy to be closed on exec: F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC; "
         "no command that sends signals",
         Rule(1, values=(1, 2, 3, 1030))),
    Call("close", 3, 57, "FFmpeg closes its copy of the descriptor"),
    Call("mmap", 9, 222, "memory; no executable memory", Rule(2, without=_EXECUTABLE)),
    Call("mprotect", 10, 226, "stacks and heaps of threads; no executable memory",
         Rule(2, without=_EXECUTABLE)),
    Call("munmap", 11, 215, "memory is released"),
    Call("mremap", 25, 216, "realloc of large blocks"),
    Call("brk", 12, 214, "the heap of the first thread"),
    Call("madvise", 28, 233,
         "the C library releases stacks of threads and free memory, sets huge pages and guards of "
         "stacks",
         Rule(2, values=(4, 8, 14, 102, 103))),
    Call("clone", 56, 220, "threads of FFmpeg; neither processes nor namespaces",
         Rule(0, without=0xFFFFFFFF & ~_THREAD_FLAGS, needed=_THREAD)),
    Call("set_robust_list", 273, 99, "a thread of glibc begins"),
    Call("rseq", 334, 293, "a thread of glibc from 2.35 on begins"),
    Call("set_tid_address", 218, 96, "a detached thread of musl ends"),
    Call("prctl", 157, 167, "FFmpeg names its threads (PR_SET_NAME)", Rule(0, values=(15,))),
    Call("exit", 60, 93, "the end of a thread"),
    Call("exit_group", 231, 94, "the end of the process"),
    Call("rt_sigaction", 13, 134,
         "glibc prepares the cancelling of threads; abort restores the default"),
    Call("rt_sigprocmask", 14, 135, "threads start with signals blocked"),
    Call("rt_sigreturn", 15, 139, "the end of a signal handler"),
    Call("restart_syscall", 219, 128,
         "the kernel resumes a wait when the process was stopped and continued"),
    Call("tgkill", 234, 131, "abort: a signal to itself", Rule(0, own_process=True)),
    Call("getpid", 39, 172, "abort in older C libraries"),
    Call("gettid", 186, 178, "locks that know their owner; abort"),
    Call("sched_getaffinity", 204, 123, "decoders count processors"),
    Call("sched_yield", 24, 124, "threads that wait for a short time"),
    Call("nanosleep", 35, 101, "sleeping, in older C libraries"),
    Call("clock_nanosleep", 230, 115, "sleeping in Python and FFmpeg"),
    Call("clock_gettime", 228, 113,
         "time, on machines where it cannot be read without a system call"),
    Call("clock_getres", 229, 114, "time, likewise"),
    Call("gettimeofday", 96, 169, "time, likewise"),
    Call("time", 201, None, "time, likewise"),
    Call("sysinfo", 99, 179,
         "qsort of glibc up to 2.36 chooses its algorithm by the size of the memory"),
    Call("getrandom", 318, 278,
         "glibc's malloc and the hashing of a new thread need random numbers"),
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Machine:
    """One architecture's numbers of the calls.

    Attributes:
        audit: The architecture's id in a filter.
        clone3: Number of a call that the filter reports as non-existent. The C library then uses
            `clone`, whose flags a filter can read.
        allowed: Numbers of allowed calls with their rules, in the order in which they are compared.
    """

    audit: int
    clone3: int
    allowed: tuple[tuple[int, Rule | None], ...]


def machine_of(architecture: str) -> Machine | None:
    """Return an architecture's numbers by its name in `platform.machine()`, or None if unknown."""
    if architecture == "x86_64":
        return Machine(0xC000003E, 435, tuple((call.x86_64, call.rule) for call in ALLOWED))
    if architecture in ("aarch64", "arm64"):
        return Machine(
            0xC00000B7,
            435,
            tuple((call.aarch64, call.rule) for call in ALLOWED if call.aarch64 is not None),
        )
    return None
