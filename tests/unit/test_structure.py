"""Which package may import which, and how large a file and a function may grow.

ARCHITECTURE.md says why.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("api", "worker", "core", "ml_engine", "infra")

_RECORDS = ("core.domain", "core.errors")
_SERVICES_USE = (
    *_RECORDS,
    "core.ports",
    "core.geometry",
    "core.telemetry",
    "core.observability",
    "core.addresses",
)
_PROGRAMS_USE = (
    *_SERVICES_USE,
    "core.services",
    "core.config",
    "core.bootstrap",
    "core.private_files",
    "core.program_name",
    "core.version",
)
_ENGINE_USES = (*_RECORDS, "ml_engine")

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    # Packages and lone modules; the longest name that fits a module is its row. Modules of a row
    # may import one another.
    "core.errors": (),
    "core.addresses": (),
    "core.child_environment": (),
    "core.data_folder": (),
    "core.private_files": (),
    "core.program_name": (),
    "core.version": (),
    "core.domain": ("core.errors",),
    "core.ports": ("core.domain",),
    "core.config": (*_RECORDS, "core.data_folder"),
    "core.geometry": _RECORDS,
    "core.telemetry": ("core.errors",),
    "core.observability": ("core.config",),
    "core.services": _SERVICES_USE,
    "core.adapters.shared": (*_RECORDS, "core.ports"),
    "core.adapters.azure": (*_RECORDS, "core.ports"),
    "core.adapters.http": (*_RECORDS, "core.ports", "core.addresses"),
    "core.adapters.mongo": (*_RECORDS, "core.ports", "core.adapters.shared"),
    "core.adapters.sqlite": (*_RECORDS, "core.ports", "core.adapters.shared"),
    "core.bootstrap": (
        *(
            "core.adapters.azure",
            "core.adapters.http",
            "core.adapters.mongo",
            "core.adapters.sqlite",
        ),
        *("core.config", "core.domain", "core.observability", "core.ports", "core.services"),
    ),
    "api": _PROGRAMS_USE,
    "worker": (
        *_PROGRAMS_USE,
        *(
            "ml_engine",
            "ml_engine.stages",
            "ml_engine.counting",
            "ml_engine.detection",
            "ml_engine.results",
        ),
        *("ml_engine.video", "ml_engine.video.sandbox"),
    ),
    "infra": (
        *_RECORDS,
        "core.config",
        "core.child_environment",
        "core.data_folder",
        "core.private_files",
        "core.program_name",
    ),
    # The commands that it runs are names to it: it imports the chosen one.
    "infra.muster": ("core.program_name", "core.version"),
    # What all of the engine uses: arrays, boxes, paths, progress.
    "ml_engine": (*_RECORDS, "core.data_folder"),
    "ml_engine.video": _ENGINE_USES,
    "ml_engine.video.sandbox": (*_ENGINE_USES, "ml_engine.video", "core.child_environment"),
    "ml_engine.camera_motion": _ENGINE_USES,
    "ml_engine.ground": (*_ENGINE_USES, "core.geometry", "core.telemetry"),
    "ml_engine.detection": (*_ENGINE_USES, "ml_engine.camera_motion", "ml_engine.video"),
    "ml_engine.tracking": (*_ENGINE_USES, "ml_engine.camera_motion"),
    "ml_engine.counting": (*_ENGINE_USES, "ml_engine.tracking", "ml_engine.detection"),
    "ml_engine.results": (*_ENGINE_USES, "ml_engine.counting"),
    "ml_engine.drawing": (*_ENGINE_USES, "ml_engine.tracking", "ml_engine.counting"),
    "ml_engine.stages": (
        *(
            *_ENGINE_USES,
            "core.telemetry",
            "ml_engine.video",
            "ml_engine.video.sandbox",
            "ml_engine.camera_motion",
            "ml_engine.ground",
        ),
        *(
            "ml_engine.detection",
            "ml_engine.tracking",
            "ml_engine.counting",
            "ml_engine.results",
            "ml_engine.drawing",
        ),
    ),
    "ml_engine.simulator": _ENGINE_USES,
    "ml_engine.synthetic": (*_ENGINE_USES, "ml_engine.datasets"),
    "ml_engine.datasets": (*_ENGINE_USES, "ml_engine.detection"),
    "ml_engine.evaluation": (
        *(*_ENGINE_USES, "ml_engine.stages", "ml_engine.detection", "ml_engine.counting"),
        *("ml_engine.datasets", "ml_engine.simulator"),
    ),
    "ml_engine.training": (
        *_ENGINE_USES,
        "ml_engine.detection",
        "ml_engine.datasets",
        "ml_engine.synthetic",
        "ml_engine.evaluation",
    ),
    "ml_engine.cli": (
        *(
            *_ENGINE_USES,
            "core.geometry",
            "core.program_name",
            "core.telemetry",
            "core.version",
            "ml_engine.video",
            "ml_engine.video.sandbox",
            "ml_engine.detection",
        ),
        *(
            "ml_engine.stages",
            "ml_engine.datasets",
            "ml_engine.synthetic",
            "ml_engine.evaluation",
            "ml_engine.training",
        ),
    ),
    "ml_engine.__main__": ("ml_engine.cli",),
}
# It describes all of the code; no other row has it.
MAY_IMPORT["infra.reference"] = tuple(MAY_IMPORT)

_LEARNING = ("ml_engine.detection", "ml_engine.training")
LIBRARIES: dict[str, tuple[str, ...]] = {
    # Under which names each may be imported. A library that is not listed may be imported nowhere.
    "PIL": ("ml_engine.detection", "ml_engine.drawing", "ml_engine.training"),
    "aiohttp": ("core.adapters.azure", "core.adapters.http"),
    "av": ("ml_engine.video", "ml_engine.detection.preprocessing", "ml_engine.synthetic"),
    "azure": ("core.adapters.azure",),
    "bson": ("core.adapters.mongo",),
    "cv2": ("ml_engine",),
    "dotenv": ("core.config.sources",),
    "fastapi": ("api",),
    "httpx": ("api.oidc", "infra"),
    "huggingface_hub": ("ml_engine.detection.runtimes",),
    "jwt": ("api.oidc",),
    "numpy": ("core.geometry", "core.telemetry", "ml_engine"),
    "onnx": ("ml_engine.training",),
    "opentelemetry": ("core.observability",),
    # It reports usage unless it is imported there.
    "openvino": ("ml_engine.detection.runtimes.openvino_package",),
    "prometheus_client": ("api", "worker"),
    "pyarrow": ("ml_engine.detection", "ml_engine.results"),
    "pydantic": (
        "api",
        "core.adapters",
        "core.config",
        "core.domain",
        "core.services",
        "infra",
        "worker",
    ),
    "pydantic_core": ("core.config",),
    "pymongo": ("core.adapters.mongo",),
    "pyproj": ("core.geometry",),
    "python_multipart": ("api.multipart",),
    "rich": ("api.keys_command", "infra", "ml_engine"),
    "safetensors": _LEARNING,
    "scipy": ("ml_engine",),
    "sqlite3": ("core.adapters.sqlite",),
    "starlette": ("api",),
    "supervision": ("ml_engine.drawing",),
    "torch": _LEARNING,
    "transformers": _LEARNING,
    "uvicorn": ("api.serve_command",),
    "yaml": ("ml_engine.datasets",),
    "yarl": ("core.adapters.http",),
}

EXCEPTIONS = {
    "ml_engine.thresholds imports ml_engine.cli.thresholds": "the command's old name, for one release",
    "ml_engine.training.gallery imports ml_engine.cli.gallery": "the command's old name, for one release",
}
"""Imports that the tables forbid and that are there all the same, and why.

One that is gone must go from here too.
"""

HEAVY = {
    "numpy",
    "torch",
    "cv2",
    "av",
    "openvino",
    "transformers",
    "supervision",
    "pyarrow",
    "scipy",
    "ml_engine",
}
APART = {"ml_engine.synthetic", "ml_engine.training", "ml_engine.evaluation"}
"""What draws, trains and measures. It is not in the worker's image."""
LIGHT = {
    # What must not be loaded by importing a module.
    "api.main": HEAVY,
    "infra.muster": HEAVY | {"api", "core.config", "fastapi", "pydantic", "rich", "worker"},
    "worker.deliveries": HEAVY - {"ml_engine"},
    "worker.main": (HEAVY | APART) - {"ml_engine", "numpy"},
    "ml_engine.cli.main": HEAVY - {"ml_engine"},
    "ml_engine.video.sandbox.child": HEAVY - {"ml_engine", "av"},
}


def python_files(*folders: str) -> list[Path]:
    return sorted(
        path
        for folder in folders
        for path in (REPOSITORY / folder).rglob("*.py")
        if "node_modules" not in path.parts
    )


def dotted(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imported(path: Path) -> tuple[str, ...]:
    """Return the dotted name of every module that a file imports, wherever in the file it does, for
    types alone included.

    `from a import b` gives `a.b` where that is a module of this repository, else `a`.
    """
    found = []
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, (
                f"{path}: relative imports hide which package imports which"
            )
            for name in (f"{node.module}.{alias.name}" for alias in node.names):
                place = REPOSITORY.joinpath(*name.split("."))
                found.append(
                    name if place.with_suffix(".py").is_file() or place.is_dir() else node.module
                )
    return tuple(sorted(set(found)))


def starts_with(module: str, *prefixes: str) -> bool:
    return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)


def row_of(module: str) -> str | None:
    return max((row for row in MAY_IMPORT if starts_with(module, row)), key=len, default=None)


def is_allowed(importer: str, module: str) -> bool:
    top, own = module.split(".")[0], row_of(importer)
    if own is None:
        return False
    if top in (*PACKAGES, "tests"):
        return row_of(module) in (own, *MAY_IMPORT[own])
    return (
        starts_with(importer, *LIBRARIES[top])
        if top in LIBRARIES
        else top in sys.stdlib_module_names
    )


def faults() -> Iterator[str]:
    for path in python_files(*PACKAGES):
        yield from (
            f"{dotted(path)} imports {module}"
            for module in imported(path)
            if not is_allowed(dotted(path), module)
        )


def module_imports() -> dict[str, list[str]]:
    modules = {dotted(path): path for path in python_files(*PACKAGES)}
    return {
        name: [other for other in imported(path) if other in modules and other != name]
        for name, path in modules.items()
    }


def circles(edges: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return the groups of names of which each leads to itself through the others (Tarjan 1972)."""
    low: dict[str, int] = {}
    stack: list[str] = []
    groups = []

    def visit(name: str) -> None:
        place = low[name] = len(low)
        start = len(stack)
        stack.append(name)
        for other in edges[name]:
            if other not in low:
                visit(other)
            low[name] = min(low[name], low[other])
        if low[name] == place:
            group = stack[start:]
            del stack[start:]
            low.update(dict.fromkeys(group, sys.maxsize))
            if len(group) > 1:
                groups.append(sorted(group))

    for name in edges:
        if name not in low:
            visit(name)
    return sorted(groups)


def too_large() -> Iterator[str]:
    for path in python_files(*PACKAGES, "tests"):
        text = path.read_text()
        if text.count("\n") > 400:
            yield f"{dotted(path)} has {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > 60:
                    yield f"{dotted(path)}.{node.name} has {lines} lines"


def long_test_names() -> Iterator[str]:
    """Yield tests whose name is longer than 80 characters."""
    for path in python_files("tests"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node, "name", "")
            if isinstance(name, str) and name.startswith("test_") and len(name) > 80:
                yield f"{dotted(path)}.{name}"


def test_imports_follow_the_tables() -> None:
    assert sorted(faults()) == sorted(EXCEPTIONS)


def test_neither_modules_nor_packages_import_one_another_in_a_circle() -> None:
    assert circles(module_imports()) == []
    assert circles(MAY_IMPORT) == []


def test_files_have_400_lines_and_functions_60_at_most() -> None:
    assert list(too_large()) == [], "split them by idea"


def test_names_of_tests_have_80_characters_at_most() -> None:
    assert list(long_test_names()) == [], "say what is promised in fewer words"


@pytest.mark.parametrize("module", LIGHT)
def test_importing_it_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}\nloaded = sorted({LIGHT[module]!r} & set(sys.modules))\nassert not loaded, loaded\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
