"""The page on the commands, from the parsers of their arguments."""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

from infra.reference.markdown import code, document, table

COMMANDS = (
    "ml_engine.cli.main",
    "ml_engine.cli.thresholds",
    "ml_engine.cli.gallery",
    "worker.main",
    "worker.sweep",
    "worker.storage",
    "api.keys",
)
"""Modules whose `main` parses arguments."""

_INTRO = """Exit status: 0, 1 (it failed, with a sentence on standard error) or 2 (wrong usage).
Commands of a service read [the configuration](configuration.md).

The API is a plain ASGI application: `uvicorn api.main:app --port 8000`. Azurite alone:
`python -m infra.storage`. Both take no other arguments of Muster's. `make` lists the commands of the
repository."""


class _Parsed(Exception):
    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def page() -> str:
    """Return the page."""
    parts = [_INTRO]
    for module in COMMANDS:
        for parser in _with_subcommands(parser_of(module)):
            parts += [f"## {parser.prog}", _sentence(parser.description), _arguments(parser)]
    return document("Commands", "the parsers of their arguments", *filter(None, parts))


def parser_of(module: str) -> argparse.ArgumentParser:
    """Return the parser of a command: the one that its `main` asks to parse.

    Raises:
        LookupError: `main` parses nothing.
    """

    def caught(self: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        raise _Parsed(self)

    umask = os.umask(0o077)
    os.umask(umask)
    try:
        with mock.patch.object(argparse.ArgumentParser, "parse_args", caught):
            importlib.import_module(module).main([])
    except _Parsed as found:
        return found.parser
    finally:
        # Commands of a service close their files to other users first.
        os.umask(umask)
    raise LookupError(f"{module}.main parses no arguments.")


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
