"""Archives that are small and claim, or unpack to, more than a calibration needs: refused, without
room for what they claim.
"""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable

import numpy as np
import pytest

from core.errors import InvalidCalibration
from core.geometry.calibration import NPZ_LIMIT_BYTES, read_npz
from tests.support.api_stand import running_api

MIB = 2**20


def npy(rows: int = 4) -> bytes:
    out = io.BytesIO()
    np.save(out, np.arange(rows * 2, dtype=np.float64).reshape(rows, 2) ** 1.5)
    return out.getvalue()


def archive(*members: tuple[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as file:
        for name, data in members:
            file.writestr(name, data)
    return out.getvalue()


def zeros(size_bytes: int) -> bytes:
    """An array whose header says four points, and which goes on with zeros."""
    return npy() + bytes(size_bytes)


def lying(data: bytes, size: int) -> bytes:
    """Return an archive whose members say that they unpack to so many bytes, in both places where
    that is said.
    """
    changed = bytearray(data)
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = -1
        while (at := data.find(signature, at + 1)) >= 0:
            struct.pack_into("<I", changed, at + offset, size)
    return bytes(changed)


def overlapping(copies: int) -> bytes:
    """Return an archive whose directory names the same packed bytes again and again."""
    data = bytearray(archive(("image_points.npy", zeros(MIB)), ("map_points.npy", npy())))
    directory = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", directory + 1)
    end = data.index(b"PK\x05\x06")
    entry, rest, tail = (
        bytes(data[directory:second]),
        bytes(data[second:end]),
        bytearray(data[end:]),
    )
    entries = b"".join(
        entry.replace(b"image_points.npy", f"imagepoint{number:02d}.npy".encode())
        for number in range(copies)
    )
    size = len(entry) + len(entries) + len(rest)
    struct.pack_into("<HHI", tail, 8, copies + 2, copies + 2, size)
    return bytes(data[:directory]) + entry + entries + rest + bytes(tail)


BOMBS: dict[str, Callable[[], bytes]] = {
    "a packed array of zeros": lambda: archive(
        ("image_points.npy", zeros(40 * MIB)), ("map_points.npy", npy())
    ),
    "another packed member": lambda: archive(
        ("image_points.npy", npy()), ("map_points.npy", npy()), ("x", bytes(40 * MIB))
    ),
    "bzip2": lambda: archive(
        ("image_points.npy", zeros(20 * MIB)), ("map_points.npy", npy()), packing=zipfile.ZIP_BZIP2
    ),
    "lzma": lambda: archive(
        ("image_points.npy", zeros(20 * MIB)), ("map_points.npy", npy()), packing=zipfile.ZIP_LZMA
    ),
    "an archive in an archive": lambda: archive(
        ("image_points.npy", archive(("x", bytes(20 * MIB)))), ("map_points.npy", npy())
    ),
    "an archive as its arrays": lambda: archive(
        ("image_points.npy", archive(("image_points.npy", npy()))), ("map_points.npy", npy())
    ),
    "sizes that lie": lambda: lying(
        archive(("image_points.npy", zeros(20 * MIB)), ("map_points.npy", npy())), 200
    ),
    "one packed member under many names": lambda: overlapping(60),
    "many members": lambda: archive(
        *((f"{n}.npy", npy()) for n in range(5000)), packing=zipfile.ZIP_STORED
    )[: NPZ_LIMIT_BYTES + 1],
    "names that lead outside": lambda: archive(
        ("../image_points.npy", npy()), ("/map_points.npy", npy())
    ),
    "too large as it is": lambda: bytes(NPZ_LIMIT_BYTES + 1),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_an_archive_that_is_a_bomb_is_refused_soon_and_within_little_room(bomb: str) -> None:
    data = BOMBS[bomb]()
    tracemalloc.start()
    began_s = time.process_time()
    try:
        with pytest.raises(InvalidCalibration) as refused:
            read_npz(data)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()
    assert refused.value.code == "bad_calibration_file"
    assert time.process_time() - began_s < 5


@pytest.mark.parametrize("bomb", BOMBS)
async def test_over_http_it_is_no_calibration(bomb: str) -> None:
    async with running_api() as api:
        answer = await api.client.put(
            "/api/v1/calibrations/x",
            content=BOMBS[bomb](),
            headers={"Content-Type": "application/octet-stream"},
        )
        assert answer.status_code in (413, 415, 422), answer.text
        assert (await api.client.get("/api/v1/calibrations")).json()["items"] == []


async def test_an_archive_is_no_video_and_a_packed_body_is_not_unpacked() -> None:
    async with running_api() as api:
        answer = await api.submit(("film.mp4", BOMBS["another packed member"]()))
        assert (answer.status_code, await api.films()) == (415, [])
        packed = await api.client.post(
            "/api/v1/uploads",
            content=b"{}",
            headers={"Content-Encoding": "gzip", "Content-Type": "application/json"},
        )
        assert packed.status_code == 201, "the header changes nothing: the body is read as it came"


def test_an_archive_that_is_none_of_these_is_read() -> None:
    given = archive(("image_points.npy", npy()), ("map_points.npy", npy()))
    assert len(read_npz(given)["image_points"]) == 4
