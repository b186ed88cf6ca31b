"""Who may import whom, and how large a file and a function may grow."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("api", "worker", "core", "ml_engine", "infra")
HEAVY = {"torch", "cv2", "av", "openvino", "transformers", "supervision", "pyarrow", "scipy"}
STORAGE = {"azure", "pymongo", "sqlite3", "bson"}
ENGINE_MAY_IMPORT = (
    "core.domain",
    "core.geometry.calibration",
    "core.geometry.calibration_files",
    "core.geometry.homography",
    "core.telemetry",
    "core.geometry.geodesy",
    "core.child_environment",
    "core.errors",
)
OPENVINO_IS_IMPORTED_BY = "ml_engine/detection/runtimes/openvino_package.py"
DOMAIN_MAY_IMPORT = ("pydantic", "core.domain", "core.errors")


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (REPOSITORY / folder).rglob("*.py") if "node_modules" not in path.parts)


def imported_modules(path: Path) -> Iterator[str]:
    """Yield the dotted name of every module that a file imports, wherever in the file; `from a import b` gives `a` and `a.b`."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative imports hide who imports whom"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def starts_with(module: str, *prefixes: str) -> bool:
    return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)


def forbidden_in(path: Path) -> list[str]:
    """Return the imports of a file that the architecture forbids."""
    inside = path.relative_to(REPOSITORY).as_posix()
    package = inside.split("/")[0]
    others = {"api", "worker", "ml_engine", "infra", "tests"} - {package}
    faults = []
    for module in imported_modules(path):
        top = module.split(".")[0]
        if package == "worker" and top == "ml_engine":
            continue
        if package == "infra" and top == "tests":
            faults.append(module)
        if package != "infra" and top in others:
            faults.append(module)
        if package in ("api", "core") and top in HEAVY:
            faults.append(module)
        if package == "ml_engine" and top == "core" and not starts_with(module, *ENGINE_MAY_IMPORT):
            faults.append(module)
        if starts_with(module, "core.adapters") and inside != "core/bootstrap.py" and not inside.startswith("core/adapters/"):
            faults.append(module)
        if top in STORAGE and not inside.startswith("core/adapters/"):
            faults.append(module)
        if top == "openvino" and inside != OPENVINO_IS_IMPORTED_BY:
            faults.append(module)
        in_domain = inside.startswith("core/domain/")
        if in_domain and top not in sys.stdlib_module_names and not starts_with(module, *DOMAIN_MAY_IMPORT):
            faults.append(module)
        if inside.startswith("core/services/") and starts_with(module, "core.config.settings", "core.bootstrap"):
            faults.append(module)
    return faults


@pytest.mark.parametrize("path", python_files(*PACKAGES), ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_imports_follow_the_architecture(path: Path) -> None:
    assert forbidden_in(path) == []


def test_the_rule_itself_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.REPOSITORY", tmp_path)
    for name, text, fault in (
        ("api/a.py", "import torch", "torch"),
        ("core/b.py", "def f():\n    from worker.main import run", "worker.main"),
        ("core/services/c.py", "from core.adapters.mongo import X", "core.adapters.mongo"),
        ("ml_engine/d.py", "from core.ports import BlobStore", "core.ports"),
        ("worker/e.py", "import pymongo", "pymongo"),
        ("ml_engine/f.py", "from openvino.frontend import OpConversionFailure", "openvino.frontend"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        assert fault in forbidden_in(path)


@pytest.mark.parametrize("path", python_files(*PACKAGES, "tests"), ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400, "split it by idea"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            assert size <= 60, f"{node.name} has {size} lines: split it by idea"


def test_importing_the_api_loads_nothing_heavy_and_touches_nothing() -> None:
    code = f"import sys, api.main\nloaded = sorted({HEAVY | {'ml_engine'}!r} & set(sys.modules))\nassert not loaded, loaded\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
