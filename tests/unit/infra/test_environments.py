"""A child process inherits what its list names: no secret of its parent, no descriptor, no search
path that means the current folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.child_environment import absolute_parts, inherited
from infra import environments
from infra.processes import Child
from ml_engine.video.sandbox.decoder import ConfinedDecoder
from tests.support.stack import SAMPLE

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "aws",
    "GITHUB_TOKEN": "github",
    "DATABASE_PASSWORD": "database",
    "AZURITE_ACCOUNTS": "devstoreaccount1:published",
    "NODE_OPTIONS": "--require /tmp/evil.js",
    "LD_PRELOAD": "/tmp/evil.so",
    "PYTHONSTARTUP": "/tmp/evil.py",
    "BASH_ENV": "/tmp/evil.sh",
    "AZURE_CLIENT_SECRET": "azure",
    "AZURE_STORAGE_CONNECTION_STRING": "AccountKey=storage",
    "AZURE_STORAGE_ACCOUNT_URL": "https://other.blob.core.windows.net",
}
OF_MUSTER = {
    "MUSTER_WEBHOOK_SECRET": "0123456789abcdef",
    "MUSTER_OIDC_ISSUER": "https://login.example",
    "MONGO_URI": "mongodb://user:password@db",
    "MONGO_DETAILS": "mongodb://user:password@db",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=secret",
    "MUSTER_ALLOW_UNCONFINED_DECODING": "false",
}
OF_DETECTORS = {"HF_TOKEN": "hub", "CUDA_VISIBLE_DEVICES": "0"}
OF_NPM = {
    "npm_config_registry": "https://registry.example",
    "NODE_EXTRA_CA_CERTS": "/etc/ca.pem",
    "HTTPS_PROXY": "http://proxy",
}
FOR_ALL = {"HOME": "/home/herd", "LANG": "C.UTF-8", "LC_ALL": "C", "TZ": "UTC"}
PATHS = {
    "PATH": "/usr/bin::/bin:.",
    "LD_LIBRARY_PATH": "/opt/lib:",
    "PYTHONPATH": ":lib:/opt/python",
}
CLEANED = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": "/opt/lib"}


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment with everything in it."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in {
        **SECRETS,
        **OF_MUSTER,
        **OF_DETECTORS,
        **OF_NPM,
        **FOR_ALL,
        **PATHS,
    }.items():
        monkeypatch.setenv(name, value)


_API = {**OF_MUSTER, "HTTPS_PROXY": "http://proxy", "PYTHONPATH": "/opt/python"}


@pytest.mark.parametrize(
    ("of", "more"),
    [
        (environments.of_azurite, {}),
        (environments.of_npm, OF_NPM),
        (environments.of_api, _API),
        (environments.of_worker, {**_API, **OF_DETECTORS}),
        (environments.of_mongo_test_server, {}),
        (environments.of_maven, {"HTTPS_PROXY": "http://proxy"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_program_inherits_its_list(
    parent: None, of: Callable[[], dict[str, str]], more: dict[str, str]
) -> None:
    assert of() == {**FOR_ALL, **CLEANED, **more}


@pytest.mark.parametrize(
    ("given", "cleaned"),
    [
        ("", ""),
        (":", ""),
        ("/usr/lib", "/usr/lib"),
        (":/usr/lib", "/usr/lib"),
        ("/usr/lib:", "/usr/lib"),
        ("/a::/b", "/a:/b"),
        (".:/a:..:lib:./lib:~/lib:/b", "/a:/b"),
    ],
)
@pytest.mark.parametrize("name", ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH"])
def test_a_search_path_has_no_part_that_depends_on_the_current_folder(
    name: str, given: str, cleaned: str
) -> None:
    assert absolute_parts(given) == cleaned
    assert inherited([name], {name: given, "OTHER": "x"}) == ({name: cleaned} if cleaned else {})


def test_names_are_matched_as_they_are_written() -> None:
    given = {"LC_ALL": "C", "lc_all": "C", "XLC_ALL": "C", "EMPTY": ""}
    assert inherited(["LC_*", "EMPTY"], given) == {"LC_ALL": "C", "EMPTY": ""}


def environment_of(process: subprocess.Popen[bytes]) -> dict[str, str]:
    """Return the environment of a process that was just started."""
    content = b""
    # The system shows it a moment after it has told the parent that the program is loaded.
    while not content and process.poll() is None:
        content = Path(f"/proc/{process.pid}/environ").read_bytes()
    return dict(part.split("=", 1) for part in content.decode().split("\0") if part)


SHOW = """
import json, os
links = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
print(json.dumps([sorted(set(os.environ) - {"LC_CTYPE"}), links]))
"""


def test_a_child_without_a_list_inherits_nothing_and_no_descriptor(tmp_path: Path) -> None:
    with open(tmp_path / "secret", "w") as secret:
        os.set_inheritable(secret.fileno(), True)
        child = Child("shower", [sys.executable, "-I", "-c", SHOW], run_dir=tmp_path)
        child.start()
        assert child.process is not None and child.process.wait(30) == 0
    names, links = json.loads(child.log_tail())
    assert names == []
    assert str(tmp_path / "shower.log") in links and str(tmp_path / "secret") not in links


def test_the_decoder_inherits_where_shared_libraries_are(
    parent: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []
    start = subprocess.Popen

    def watched(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = start(*arguments, **options)
        seen.append(environment_of(process))
        return process

    monkeypatch.setattr(subprocess, "Popen", watched)
    assert ConfinedDecoder().probe(SAMPLE).pts.size > 0
    assert seen and all(
        env == {"LD_LIBRARY_PATH": "/opt/lib", "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}
        for env in seen
    )
