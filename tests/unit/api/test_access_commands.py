"""`python -m api.keys`, and what `docker compose` makes of it."""

from __future__ import annotations

import re
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from api import keys_command as keys

REPOSITORY = Path(__file__).parents[3]
NOW = datetime(2026, 6, 1, 9, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("MONGO_URI", raising=False)
    monkeypatch.chdir(tmp_path)


def run(
    capsys: pytest.CaptureFixture[str], *arguments: str, now: datetime = NOW
) -> tuple[int, str, str]:
    """Run a command; return its status, and what it wrote to both outputs."""
    try:
        status = keys.main(arguments, clock=lambda: now)
    except SystemExit as end:
        assert isinstance(end.code, int)
        status = end.code
    out, err = capsys.readouterr()
    return status, out, err


def test_a_key_is_shown_once_listed_without_its_secret_and_revoked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, err = run(
        capsys, "create", "--owner", "north ranch", "--scopes", "submit, read", "--label", "gate"
    )
    assert (status, "north ranch" in err) == (0, True)
    match = re.fullmatch(r"muster_([0-9a-f]{16})_[\w-]{43}\n", out)
    assert match and out.strip() not in err
    status, out, _ = run(capsys, "list")
    assert status == 0
    for text in (
        match[1],
        "north ranch",
        "submit, read",
        "gate",
        "2026-06-01 09:30",
        "never",
        "good",
    ):
        assert text in out
    assert match[0].strip() not in out
    assert run(capsys, "revoke", match[1])[0] == 0
    assert "revoked" in run(capsys, "list", "--owner", "north ranch")[1]
    assert match[1] not in run(capsys, "list", "--owner", "park")[1]


def test_a_key_may_expire(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "create", "--owner", "x", "--expires-days", "2")[0] == 0
    assert "valid until 2026-06-03" in run(capsys, "list")[1]
    assert "expired" in run(capsys, "list", now=NOW + timedelta(days=2))[1]


def test_the_first_key_goes_to_a_file_of_its_owner_alone_and_is_made_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "first-key"
    path.write_text("left over")
    path.chmod(0o644)
    first = (
        "create",
        "--first",
        "--owner",
        "local",
        "--scopes",
        "submit,read,admin",
        "--file",
        str(path),
    )
    status, out, err = run(capsys, *first)
    secret = path.read_text().strip()
    assert (status, out, re.fullmatch(r"muster_[0-9a-f]{16}_[\w-]{43}", secret) is not None) == (
        0,
        "",
        True,
    )
    assert secret not in err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    status, out, err = run(capsys, *first)
    assert (status, out, "No key was created" in err, path.read_text().strip()) == (
        0,
        "",
        True,
        secret,
    )
    run(capsys, "revoke", secret.split("_")[1])
    run(capsys, *first)
    assert path.read_text().strip() != secret


def test_a_key_that_cannot_be_written_is_not_left_good(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, out, err = run(
        capsys, "create", "--owner", "x", "--file", str(tmp_path / "no" / "such" / "folder")
    )
    assert (status, out) == (1, "")
    assert "No such file" in err
    assert "revoked" in run(capsys, "list")[1]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("create", "--owner", ""), 2),
        (("create", "--owner", "a\nb"), 2),
        (("create", "--owner", "x", "--scopes", "all"), 2),
        (("create", "--owner", "x", "--scopes", ","), 2),
        (("create", "--owner", "x", "--expires-days", "0"), 2),
        (("create", "--owner", "x", "--expires-days", "1e99"), 2),
        (("create", "--owner", "x", "--first", "--expires-days", "1"), 2),
        (("create",), 2),
        ((), 2),
        (("revoke", "0000000000000000"), 1),
    ],
)
def test_what_makes_no_sense_is_said_and_makes_nothing(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int
) -> None:
    assert run(capsys, *arguments)[0] == status
    assert "muster_" not in run(capsys, "list")[1]


@pytest.fixture
def compose() -> dict:
    return yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())


def test_compose_publishes_on_loopback_only(compose: dict) -> None:
    published = [
        port for service in compose["services"].values() for port in service.get("ports", ())
    ]
    assert "127.0.0.1:8000:8000" in published
    for port in published:
        assert isinstance(port, str) and port.startswith("127.0.0.1:"), port
    assert not any(
        service.get("network_mode") == "host" for service in compose["services"].values()
    )


def test_compose_makes_a_key_before_the_api_starts_where_the_api_can_show_it(
    compose: dict, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    api, first = compose["services"]["api"], compose["services"]["first-key"]
    assert api["depends_on"]["first-key"] == {"condition": "service_completed_successfully"}
    assert (
        api["volumes"]
        == first["volumes"]
        == ["api-data:/data", "storage-account:/storage-account:ro"]
    )
    assert "api-data" in compose["volumes"]
    assert api["build"] == first["build"]
    database = first["environment"]
    assert "MONGO_URI" in database and "MUSTER_MONGO_DATABASE" in database
    assert database.items() <= api["environment"].items(), "the same database"
    interpreter, *command = first["command"]
    assert (interpreter, command[:2]) == ("python", ["-m", "api.keys"])
    arguments = [text.replace("/data/", f"{tmp_path}/") for text in command[2:]]
    assert run(capsys, *arguments)[0] == 0
    assert (tmp_path / "first-key").read_text().startswith("muster_")
    assert run(capsys, *arguments)[0] == 0, "at every later start"
    assert "submit, read, admin" in run(capsys, "list")[1]


def test_in_its_image_the_api_wants_a_key_from_everybody() -> None:
    assert "MUSTER_REQUIRE_KEY=true" in (REPOSITORY / "Dockerfile.api").read_text()


def test_an_unknown_key_is_refused_with_a_command_not_a_route(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(capsys, "revoke", "nope") == (
        1,
        "",
        "Key not found. `python -m api.keys list` lists all keys.\n",
    )
