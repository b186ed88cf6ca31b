"""The page on the commands, generated from the parsers of their arguments."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

from infra.muster import COMMANDS, Command
from infra.reference.markdown import code, document, table

_INTRO = """One command, `muster`, starts all others and imports only the chosen one. In a
checkout it is `.venv/bin/muster`. The exit status is 0, 1 (failed, with a sentence on standard
error) or 2 (wrong usage). Commands of a service read [the configuration](configuration.md).
`make` lists the commands of the repository.

The older names still work, with the same arguments: `python -m ml_engine count`, `evaluate` and
`train`, `python -m worker.main`, `worker.sweep`, `worker.storage`, `api.keys` and
`infra.storage`. The API is a plain ASGI application, so that `uvicorn api.main:app --port 8000`
starts it, too."""


class _Parsed(Exception):
    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def page() -> str:
    """Return the page."""
    overview = [
        (code(f"muster {name}"), command.help, command.extra or "–")
        for group in COMMANDS.values()
        for name, command in group.items()
    ]
    parts = [_INTRO, table(("command", "what it does", "extra of the package"), overview)]
    for name in commands():
        for parser in _with_subcommands(parser_of(name)):
            parts += [f"## {parser.prog}", _sentence(parser.description), _arguments(parser)]
    return document("Commands", "the parsers of their arguments", *filter(None, parts))


def commands() -> dict[str, Command]:
    """Return every command of `muster` by its name."""
    return {name: command for group in COMMANDS.values() for name, command in group.items()}


def parser_of(name: str) -> argparse.ArgumentParser:
    """Return the parser of a command, captured when the command parses its arguments.

    Raises:
        LookupError: The command parses no arguments.
    """
    command = commands()[name]

    def caught(self: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        raise _Parsed(self)

    umask = os.umask(0o077)
    os.umask(umask)
    argv0 = "muster" if command.is_shared else f"muster {name}"
    try:
        with (
            mock.patch.object(argparse.ArgumentParser, "parse_args", caught),
            mock.patch.object(sys, "argv", [argv0]),
        ):
            getattr(importlib.import_module(command.module), command.function)([])
    except _Parsed as found:
        return _part_of(found.parser, name) if command.is_shared else found.parser
    finally:
        # Commands of a service first make their files private.
        os.umask(umask)
    raise LookupError(f"muster {name} parses no arguments.")


def _part_of(parser: argparse.ArgumentParser, name: str) -> argparse.ArgumentParser:
    (choices,) = (action.choices for action in _subparsers(parser))
    part: argparse.ArgumentParser = choices[name]
    return part


def _with_subcommands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    inner = [
        each for action in _subparsers(parser) for each in dict.fromkeys(action.choices.values())
    ]
    if not inner:
        yield parser
    for each in inner:
        yield from _with_subcommands(each)


def _subparsers(
    parser: argparse.ArgumentParser,
) -> Sequence[argparse._SubParsersAction[argparse.ArgumentParser]]:
    return [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]


def _arguments(parser: argparse.ArgumentParser) -> str:
    rows = [
        (code(_name(action)), _help(action), "yes" if _is_required(action) else "no")
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction)
    ]
    return table(("argument", "meaning", "required"), rows) if rows else "It takes no arguments."


def _is_required(action: argparse.Action) -> bool:
    return action.required


def _name(action: argparse.Action) -> str:
    value = action.metavar or (
        "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    )
    several = {"+": " …", "*": " …"}.get(str(action.nargs), "")
    if not action.option_strings:
        return f"{value}{several}"
    if action.nargs == 0:
        return action.option_strings[-1]
    return f"{action.option_strings[-1]} {value}{several}"


def _help(action: argparse.Action) -> str:
    text = (action.help or "") % {**vars(action), "prog": ""}
    has_default = action.default not in (None, False, argparse.SUPPRESS) and action.nargs != 0
    if has_default and "default" not in text:
        text += f" (default: {action.default})"
    return text


def _sentence(text: str | None) -> str:
    return f"{text.rstrip('.')}." if text else ""
