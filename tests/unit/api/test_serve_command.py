"""`muster serve`: a port or host that it cannot use is refused with the option to change."""

from __future__ import annotations

import socket

import pytest
import uvicorn

from api import serve_command


def test_a_port_in_use_is_refused_with_its_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served: list[int] = []
    monkeypatch.setattr(uvicorn, "run", lambda *_, port, **__: served.append(port))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert serve_command.main(["--port", str(port)]) == 1
    assert capsys.readouterr().err == (
        f"Port {port} of 127.0.0.1 is in use. Choose another one with --port.\n"
    )
    assert served == []
    assert serve_command.main(["--port", str(port)]) == 0
    assert served == [port]


@pytest.mark.parametrize(
    ("arguments", "option"),
    [(["--port", "99999"], "--port"), (["--host", "192.0.2.1"], "--host")],
)
def test_a_host_or_port_that_does_not_exist_is_refused(
    arguments: list[str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve_command.main(arguments) == 1
    err = capsys.readouterr().err
    assert option in err and len(err.splitlines()) == 1
