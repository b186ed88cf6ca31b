"""A commit message has a subject of at most 72 characters and an empty line below it."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.commit_message import SCISSORS, faults, main

GOOD = "Webhooks: receivers that hang hold up no other owner\n\nOne owner had all eight places.\n"


@pytest.mark.parametrize(
    "message",
    [
        GOOD,
        "x" * 72,
        "# Please enter the commit message\n\n" + GOOD + "# Changes to be committed:\n",
        f"{GOOD}{SCISSORS}\ndiff --git a b\n",
        "Subject\n\n" + "A line of the body may be as long as it is. " * 5,
    ],
)
def test_a_good_message_passes(message: str) -> None:
    assert faults(message) == []


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("x" * 73, "73 characters"),
        ("Subject\nbody", "second line"),
        ("", "empty"),
        ("# only git's own lines\n", "empty"),
        (f"\n{SCISSORS}\ndiff", "empty"),
    ],
)
def test_a_bad_message_is_refused_with_the_reason(message: str, said: str) -> None:
    (fault,) = faults(message)
    assert said in fault


def test_the_command_prints_each_fault_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "COMMIT_EDITMSG"
    file.write_text("x" * 73 + "\nbody")
    assert main([str(file)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2
    file.write_text(GOOD)
    assert main([str(file)]) == 0
