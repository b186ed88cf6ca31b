"""Sources on disk, temporary files, detectors' names, logs."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from core.config.worker import DetectorSection
from core.domain.job import SourceFile
from core.errors import DetectorError, InvalidSettings, StorageFull, VideoError
from core.observability.logs import JsonFormatter
from ml_engine.video.index import VideoIndex
from tests.fakes import MemoryBlobStore
from tests.support.fake_engine import FakeEngine
from worker.detectors import Detectors
from worker.scratch import Scratch
from worker.source_cache import SourceCache
from worker.stop import StopFlag


class CountingStore(MemoryBlobStore):
    """Counts downloads; `full` makes so many of them fail for want of room."""

    downloads = 0
    full = 0

    async def get_file(self, name: str, path: Path, *, if_match: str | None = None) -> None:
        self.downloads += 1
        if self.full:
            self.full -= 1
            raise StorageFull("The disk is full.")
        await super().get_file(name, path, if_match=if_match)


class Shelf:
    """A store and a cache folder; each cache on it stands for a process."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.store = CountingStore()
        self.probed: list[Path] = []
        self.scratches: list[Scratch] = []

    def cache(self, limit_bytes: int = 1000) -> SourceCache:
        scratch = Scratch(self.base / "scratch")
        self.scratches.append(scratch)
        return SourceCache(
            self.store, self.base / "sources", scratch, limit_bytes=limit_bytes, probe=self._probe
        )

    def _probe(self, path: Path, *, should_stop: Callable[[], bool]) -> VideoIndex:
        self.probed.append(path)
        # The cache keeps whatever it is given.
        return cast(VideoIndex, path.read_text())

    async def file(self, text: str) -> SourceFile:
        info = await self.store.put(f"jobs/{text[:8]}/source/000", text.encode())
        return SourceFile(name="a.mp4", blob=info.name, size_bytes=info.size_bytes, etag=info.etag)

    def kept(self) -> int:
        return len(list((self.base / "sources").glob("*.source")))


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path)
    yield shelf
    for scratch in shelf.scratches:
        scratch.close()


async def use(cache: SourceCache, *files: SourceFile) -> list[str]:
    async with cache.open(files, stop=StopFlag()) as sources:
        return [path.read_text() for path, _ in sources]


async def test_a_file_is_fetched_once_and_probed_once(shelf: Shelf) -> None:
    cache, file = shelf.cache(), await shelf.file("hello")
    assert await use(cache, file) == await use(cache, file) == ["hello"]
    assert (shelf.store.downloads, len(shelf.probed)) == (1, 1)


async def test_processes_share_the_folder_also_at_the_same_moment(shelf: Shelf) -> None:
    one, other, file = shelf.cache(), shelf.cache(), await shelf.file("hello")
    assert await asyncio.gather(use(one, file), use(other, file), use(one, file)) == [["hello"]] * 3
    assert shelf.store.downloads == 1


async def test_other_content_is_another_file(shelf: Shelf) -> None:
    cache = shelf.cache()
    first = await shelf.file("same-name one")
    assert await use(cache, first) == ["same-name one"]
    second = await shelf.file("same-name two")
    assert await use(cache, second) == ["same-name two"]
    for changes in ({"etag": "never"}, {"size_bytes": second.size_bytes + 1, "etag": second.etag}):
        with pytest.raises(VideoError) as changed:
            await use(shelf.cache(), first.model_copy(update=changes))
        assert (changed.value.code, "'a.mp4'" in changed.value.message) == ("source_changed", True)
    await shelf.store.delete(second.blob)
    assert await use(cache, second) == ["same-name two"], "what is kept is used"
    with pytest.raises(VideoError) as gone:
        await use(cache, second.model_copy(update={"etag": "never"}))
    assert (gone.value.code, "'a.mp4'" in gone.value.message) == ("source_missing", True)


async def test_the_least_recently_used_goes_first_and_what_is_used_stays(shelf: Shelf) -> None:
    cache, other = shelf.cache(limit_bytes=25), shelf.cache(limit_bytes=25)
    files = [await shelf.file(f"{number}" * 10) for number in range(4)]
    async with other.open([files[0]], stop=StopFlag()) as held:
        for file in files[1:]:
            await use(cache, file)
        assert held[0][0].read_text() == "0" * 10
    assert shelf.kept() <= 2
    downloads = shelf.store.downloads
    await use(cache, files[3])
    assert shelf.store.downloads == downloads, "the one used last is still there"


async def test_a_file_larger_than_the_limit_is_used_and_not_kept(shelf: Shelf) -> None:
    cache, file = shelf.cache(limit_bytes=3), await shelf.file("larger than that")
    assert await use(cache, file) == ["larger than that"]
    assert shelf.kept() == 0


async def test_a_full_disk_gives_back_what_is_kept_then_says_so(shelf: Shelf) -> None:
    cache = shelf.cache()
    await use(cache, await shelf.file("old"))
    shelf.store.full = 1
    assert await use(cache, await shelf.file("new")) == ["new"]
    assert shelf.kept() == 1
    shelf.store.full = 2
    with pytest.raises(StorageFull):
        await use(cache, await shelf.file("newer"))
    assert list(shelf.scratches[0].path.iterdir()) == []


async def test_a_file_that_cannot_fit_is_not_begun_with(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 100
    monkeypatch.setattr("worker.disk.shutil.disk_usage", lambda folder: SimpleNamespace(free=free))
    cache, file = shelf.cache(), await shelf.file("large")
    await use(cache, await shelf.file("old"))
    free = len("large") - len("old") - 1
    with pytest.raises(StorageFull, match=r"disk is full: a file needs 1 MiB"):
        await use(cache, file)
    assert (shelf.store.downloads, shelf.kept()) == (1, 1), "nothing is fetched or given up for it"
    free += 1
    with pytest.raises(StorageFull):
        await use(cache, file)
    assert (shelf.store.downloads, shelf.kept()) == (1, 0), "what is kept is given back"
    free = len("large")
    assert await use(cache, file) == ["large"]


async def test_a_damaged_copy_is_fetched_again(shelf: Shelf) -> None:
    cache, file = shelf.cache(), await shelf.file("whole")
    await use(cache, file)
    next((shelf.base / "sources").glob("*.source")).write_text("who")
    assert await use(shelf.cache(), file) == ["whole"]


def test_what_a_dead_process_left_is_removed_and_what_a_living_one_has_is_not(
    tmp_path: Path,
) -> None:
    living = Scratch(tmp_path)
    living.new_path().write_text("mine")
    dead = tmp_path / "dead"
    dead.mkdir()
    (dead / "half a video").write_text("x")
    (tmp_path / "dead.lock").touch()
    third = Scratch(tmp_path)
    assert not dead.exists() and not (tmp_path / "dead.lock").exists()
    assert len(list(living.path.iterdir())) == 1
    for scratch in (living, third):
        scratch.close()
        scratch.close()
    assert list(tmp_path.iterdir()) == []


def detectors(tmp_path: Path, **settings: Any) -> Detectors:
    return Detectors(FakeEngine(), DetectorSection(data_dir=tmp_path, **settings))


def test_names_stand_for_what_the_operator_configured(tmp_path: Path) -> None:
    plain = detectors(tmp_path)
    assert plain.resolve(None) == plain.resolve("default") == plain.resolve("pasture")
    assert (plain.resolve(None).name, plain.resolve(None).source) == ("pasture", "bundled")
    chosen = detectors(tmp_path, model_name="org/model", detectors={"coco": "/models/coco.onnx"})
    assert (chosen.resolve(None).name, chosen.resolve(None).source) == ("default", "org/model")
    assert chosen.resolve("coco").source == "/models/coco.onnx"
    assert chosen.resolve("pasture").source == "bundled"
    with pytest.raises(InvalidSettings) as refused:
        plain.resolve("coco")
    assert refused.value.code == "unknown_detector"


def test_a_detector_other_than_the_planned_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DetectorError) as refused:
        detectors(tmp_path).get(None, planned={"fingerprint": "another"})
    assert refused.value.code == "detector_changed"


def test_a_log_line_is_one_json_object_with_its_action() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter(worker="w1"))
    logger = logging.Logger("muster.test")
    logger.addHandler(handler)
    logger.info(
        "segment %d\ndetected",
        3,
        extra={"action": "segment_detected", "segment": 3, "folder": Path("x")},
    )
    try:
        raise ValueError("no")
    except ValueError:
        logger.exception("broke", extra={"action": "broken"})
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first["message"] == "segment 3\ndetected"
    assert {
        key: first[key] for key in ("level", "logger", "worker", "action", "segment", "folder")
    } == {
        "level": "INFO",
        "logger": "muster.test",
        "worker": "w1",
        "action": "segment_detected",
        "segment": 3,
        "folder": "x",
    }
    assert first["at"].endswith("Z")
    assert "ValueError: no" in second["error"]
