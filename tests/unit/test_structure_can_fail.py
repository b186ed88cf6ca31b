"""The rules of structure can fail: a forbidden import of each package, a circle, and what is too
large are found.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.test_structure import (
    MAY_IMPORT,
    REPOSITORY,
    circles,
    faults,
    long_test_names,
    module_imports,
    too_large,
)

FORBIDDEN = {
    # One import of each row's, said here once more so that a table which allows too much is
    # noticed.
    "core.errors": "core.domain.job",
    "core.addresses": "core.config.processes",
    "core.child_environment": "core.config.processes",
    "core.data_folder": "core.config.processes",
    "core.private_files": "core.errors",
    "core.program_name": "core.errors",
    "core.version": "core.config.processes",
    "core.domain": "core.ports",
    "core.ports": "core.adapters.mongo",
    "core.config": "core.bootstrap",
    "core.geometry": "ml_engine.arrays",
    "core.telemetry": "core.services.query",
    "core.observability": "core.services.query",
    "core.services": "core.config.processes",
    "core.adapters.shared": "core.adapters.mongo",
    "core.adapters.azure": "core.services.query",
    "core.adapters.http": "core.adapters.azure.blob",
    "core.adapters.mongo": "core.adapters.sqlite",
    "core.adapters.sqlite": "pymongo",
    "core.bootstrap": "worker.main",
    "api": "torch",
    "worker": "ml_engine.synthetic.scene",
    "infra": "tests.support.stack",
    "infra.reference": "tests.support.stack",
    "infra.muster": "api.serve_command",
    "ml_engine": "core.ports",
    "ml_engine.video": "ml_engine.detection.loading",
    "ml_engine.video.sandbox": "ml_engine.stages.detect",
    "ml_engine.camera_motion": "ml_engine.tracking.bytetrack",
    "ml_engine.ground": "ml_engine.counting.counts",
    "ml_engine.detection": "openvino.frontend",
    "ml_engine.tracking": "ml_engine.counting.counts",
    "ml_engine.counting": "ml_engine.results.tables",
    "ml_engine.results": "ml_engine.stages.assemble",
    "ml_engine.drawing": "ml_engine.stages.render",
    "ml_engine.stages": "ml_engine.evaluation.report",
    "ml_engine.simulator": "ml_engine.stages.assemble",
    "ml_engine.synthetic": "ml_engine.training.loop",
    "ml_engine.datasets": "ml_engine.training.loop",
    "ml_engine.evaluation": "ml_engine.cli.count",
    "ml_engine.training": "ml_engine.cli.thresholds",
    "ml_engine.cli": "core.adapters.sqlite",
    "ml_engine.__main__": "ml_engine.stages.assemble",
}


def test_the_rules_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(FORBIDDEN) == set(MAY_IMPORT)
    forms = (
        "import {}\n",
        "def f():\n    import {} as late\n",
        "if TYPE_CHECKING:\n    from {} import Name\n",
    )
    files = {}
    for number, (row, module) in enumerate(FORBIDDEN.items()):
        is_module = (REPOSITORY / (row.replace(".", "/") + ".py")).is_file()
        files[row if is_module else f"{row}.added"] = forms[number % len(forms)].format(module)
    files |= {
        "api.a": "import api.b\n",
        "api.b": "def f():\n    from api import c\n",
        "api.c": "from api.a import x\n",
    }
    files |= {
        "core.domain.long": "x = 1\n" * 401,
        "tests.e": "def f():\n" + "    x = 1\n" * 60,
        "infra.f": "import leftpad\n",
        "tests.names": f"def test_{'x' * 75}(): ...\nasync def test_{'x' * 76}(): ...\n",
    }
    for name, text in files.items():
        path = tmp_path / (name.replace(".", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr("tests.unit.test_structure.REPOSITORY", tmp_path)
    assert set(faults()) == {
        *(
            f"{name} imports {FORBIDDEN[row]}"
            for row in FORBIDDEN
            for name in (row, f"{row}.added")
            if name in files
        ),
        "infra.f imports leftpad",
    }
    assert circles(module_imports()) == [["api.a", "api.b", "api.c"]]
    assert list(long_test_names()) == [f"tests.names.test_{'x' * 76}"]
    assert list(too_large()) == ["core.domain.long has 401 lines", "tests.e.f has 61 lines"]
