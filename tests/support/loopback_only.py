"""Runs a command where only loopback can be reached, and records every packet that was meant for
another address.

Tests call `watch`. It runs this module in network and mount namespaces of its own, in which all
addresses lead back to the machine itself, so that every attempt becomes a packet on the device
`lo`. The name server has such an address, too: a look-up is a packet to it.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY, unavailable

_NAME_SERVER = "192.0.2.53"
_ETC = {
    "resolv.conf": f"nameserver {_NAME_SERVER}\noptions attempts:1 timeout:1\n",
    "nsswitch.conf": "hosts: files dns\n",
}
_SETUP = (
    "ip link set lo up",
    "ip route add local default dev lo",
    "ip -6 route add local default dev lo",
)
# Takes what does not go to 127.0.0.0/8 or ::1. An instruction of the kernel's packet filter: code,
# jumps if true and if false, operand.
_TO_ELSEWHERE = (
    (0x30, 0, 0, 0),  # first octet of the packet
    (0x54, 0, 0, 0xF0),
    (0x15, 0, 2, 0x40),  # IPv4?
    (0x30, 0, 0, 16),  # first octet of its destination
    (0x15, 2, 3, 127),
    (0x30, 0, 0, 24),  # IPv6: the same
    (0x15, 0, 1, 0),
    (0x06, 0, 0, 0),  # leave it
    (0x06, 0, 0, 0xFFFF),  # take it
)
_SO_ATTACH_FILTER = 26
_ETH_P_ALL = 3


@dataclass(frozen=True, slots=True)
class Watched:
    """A command that has ended.

    Attributes:
        status: Its exit status.
        output: What it printed, both streams.
        sent: What it sent to elsewhere than loopback, each once: `name NAME` for a look-up, else
            `address ADDRESS`.
    """

    status: int
    output: str
    sent: list[str]


def watch(argv: Sequence[str], *, env: dict[str, str], timeout_s: float = 240) -> Watched:
    """Run a command on loopback alone, in an environment of exactly these variables.

    Where the system permits no namespaces, the test is skipped; it fails there where `CI` is set.
    """
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    unshare = ["unshare", *as_root, "--net", "--mount"]
    try:
        allowed = subprocess.run([*unshare, "ip", "link"], capture_output=True, text=True)
    except FileNotFoundError as error:
        unavailable(
            f"{error.filename} is missing, which makes network namespaces (Debian: util-linux)"
        )
    if allowed.returncode != 0:
        unavailable(
            f"no network namespace can be made here: {allowed.stderr.strip()} (`ip` is in Debian's package iproute2)"
        )
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "sent.json"
        command = [
            *unshare,
            sys.executable,
            "-m",
            "tests.support.loopback_only",
            str(record),
            *argv,
        ]
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=env,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert record.exists(), done.stdout
        return Watched(done.returncode, done.stdout, json.loads(record.read_text()))


def main(record: str, *argv: str) -> int:
    """Run a command in this process's namespaces, which must be new ones; return its exit status.

    Args:
        record: File for what was sent, a JSON list.
        argv: The command.
    """
    for command in _SETUP:
        done = subprocess.run(command.split(), capture_output=True, text=True)
        if done.returncode != 0 and "-6" not in command:  # a machine may be without IPv6
            sys.exit(f"«{command}» failed: {done.stderr}")
    with tempfile.TemporaryDirectory() as folder:
        for name, text in _ETC.items():
            own = Path(folder) / name
            own.write_text(text)
            subprocess.run(["mount", "--bind", own, f"/etc/{name}"], check=True)
        with _listen() as packets:
            status = subprocess.run(argv).returncode
            Path(record).write_text(json.dumps(_received(packets)))
    return status


def _listen() -> socket.socket:
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _TO_ELSEWHERE)
    kept = ctypes.create_string_buffer(program)
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    packets.setsockopt(
        socket.SOL_SOCKET,
        _SO_ATTACH_FILTER,
        struct.pack("HP", len(_TO_ELSEWHERE), ctypes.addressof(kept)),
    )
    packets.bind(("lo", _ETH_P_ALL))
    packets.setblocking(False)
    return packets


def _received(packets: socket.socket) -> list[str]:
    found: dict[str | None, None] = {}
    while True:
        try:
            found[_in_words(packets.recv(65536))] = None
        except BlockingIOError:
            return [words for words in found if words]


def _in_words(packet: bytes) -> str | None:
    if packet[0] >> 4 == 4:
        protocol, address, body = (
            packet[9],
            socket.inet_ntop(socket.AF_INET, packet[16:20]),
            packet[(packet[0] & 15) * 4 :],
        )
    else:
        protocol, address, body = (
            packet[6],
            socket.inet_ntop(socket.AF_INET6, packet[24:40]),
            packet[40:],
        )
    if protocol in (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6):
        return None  # the kernel's word that nobody listens there
    is_look_up = address == _NAME_SERVER and protocol == socket.IPPROTO_UDP
    return f"name {_asked(body[20:])}" if is_look_up else f"address {address}"


def _asked(question: bytes) -> str:
    labels = []
    while question and question[0]:
        labels.append(question[1 : question[0] + 1].decode("ascii", "replace"))
        question = question[question[0] + 1 :]
    return ".".join(labels)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
