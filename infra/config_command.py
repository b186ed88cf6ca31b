"""`muster config`: every effective value of the configuration, and its source."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.config.processes import COMMANDS, CONFIGS, SECTIONS, all_variables, variables_read_by
from core.config.reading import ReadSection, read_section, shown
from core.config.sources import Sources
from core.config.storage import StorageSection
from core.config.unknown import Unknown, unknown_variables
from core.config.variables import Process, Variable, text_of
from core.errors import InvalidConfiguration, InvalidInput
from core.program_name import program_name

UNSET = "not set"


@dataclass(frozen=True, slots=True)
class Row:
    """One variable.

    Attributes:
        name: The preferred name.
        value: The displayed value: the value, `set` for a secret, or `not set`.
        origin: `environment`, the path of the `.env` file, `file PATH`, or `default`.
        found_as: Another name under which the value was found; empty: none.
        secret: Whether the value is hidden.
        valid: Whether the value is accepted.
    """

    name: str
    value: str
    origin: str
    found_as: str
    secret: bool
    valid: bool


@dataclass(frozen=True, slots=True)
class Report:
    """The whole configuration: rows by section, problems, unknown variables."""

    sections: dict[str, list[Row]]
    problems: list[str]
    unknown: list[Unknown]


def make_report(sources: Sources, process: Process | None) -> Report:
    """Return the configuration of one process, or of all."""
    variables = all_variables() if process is None else variables_read_by([process])
    fields = {item.field for item in variables}
    kinds = (
        CONFIGS[process].sections().values()
        if process in CONFIGS
        else [kind for kind in SECTIONS if process is None or fields & set(kind.model_fields)]
    )
    done = [read_section(kind, sources) for kind in kinds]
    problems = dict.fromkeys(
        str(fault)
        for section in done
        for fault in section.faults
        if fault.field in fields or not fault.field
    )
    if process in CONFIGS:
        problems |= dict.fromkeys(_missing_storage(done))
    sections: dict[str, list[Row]] = {}
    for variable in variables:
        sections.setdefault(variable.section.title, []).append(_row(variable, done))
    return Report(sections, list(problems), unknown_variables(sources))


def _missing_storage(done: Sequence[ReadSection]) -> list[str]:
    for section in done:
        if isinstance(section.value, StorageSection):
            try:
                section.value.require()
            except InvalidInput as error:
                return [f"({error.code}) {error.message}"]
    return []


def _row(variable: Variable, done: Sequence[ReadSection]) -> Row:
    read = [section for section in done if variable.field in section.kind.model_fields]
    valid = not any(fault.field == variable.field for part in read for fault in part.faults)
    # A valid section contains derived values, such as a string that was read from a file.
    best = next((part for part in read if part.value is not None), read[0])
    found = best.found[variable.field]
    if best.value is not None:
        text = text_of(getattr(best.value, variable.field))
    else:
        text = text_of(variable.default) if found.value is None else found.value
    origin = found.place
    if variable.field == "storage_connection" and text and found.value is None:
        origin = f"file {_connection_file(best)}"
    value = "set" if text and variable.secret else shown(text)
    other = found.name if found.value is not None and found.name != variable.name else ""
    return Row(variable.name, value or UNSET, origin, other, variable.secret, valid)


def _connection_file(section: ReadSection) -> str:
    value = section.value
    return str(value.connection_file) if isinstance(value, StorageSection) else ""


def as_json(report: Report, process: Process | None) -> str:
    """Return a report as JSON. The value of a variable that is secret or not set is null."""
    sections: dict[str, list[dict[str, Any]]] = {}
    for title, rows in report.sections.items():
        sections[title] = [
            {
                **asdict(row),
                "value": None if row.secret or row.value == UNSET else row.value,
                "set": row.value != UNSET,
            }
            for row in rows
        ]
    whole = {
        "process": process,
        "sections": sections,
        "problems": report.problems,
        "unknown": [asdict(item) for item in report.unknown],
    }
    return json.dumps(whole, indent=2)


def show(report: Report, console: Console) -> None:
    """Print a report: a table on a terminal, otherwise one line per variable."""
    if console.is_terminal:
        console.print(_table(report))
    else:
        for title, rows in report.sections.items():
            lines = [f"  {row.name} = {row.value}  ({_origin(row)})" for row in rows]
            console.print(Text("\n".join([title, *lines, ""])), soft_wrap=True)
    for problem in report.problems:
        console.print(Text(f"Problem: {problem}", "red"), soft_wrap=not console.is_terminal)
    for unknown in report.unknown:
        console.print(Text(f"Unknown: {unknown}", "yellow"), soft_wrap=not console.is_terminal)


def _table(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, expand=True, header_style="bold")
    table.add_column("variable", overflow="fold", width=36)
    table.add_column("value", overflow="fold", ratio=3)
    table.add_column("from", overflow="fold", ratio=2)
    for title, rows in report.sections.items():
        table.add_row()
        table.add_row(Text(title, "bold"))
        for row in rows:
            style = "red" if not row.valid else "dim" if row.origin == "default" else ""
            table.add_row(Text(row.name), Text(row.value), Text(_origin(row)), style=style)
    return table


def _origin(row: Row) -> str:
    as_name = f" as {row.found_as}" if row.found_as else ""
    return f"{row.origin}{as_name}{'' if row.valid else ', refused'}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status: 0, or 2 if a value is refused."""
    parser = argparse.ArgumentParser(
        prog=program_name("python -m infra.config_command"),
        description="Print each effective value of the configuration and its source. "
        "Secrets are not shown.",
    )
    parser.add_argument(
        "--process", choices=tuple(COMMANDS), help="only what this process reads (default: all)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    process: Process | None = arguments.process
    try:
        # Commands that count do not read `.env`.
        sources = Sources.of_process(None) if process == "count" else Sources.of_process()
    except InvalidConfiguration as error:
        print(error.message, file=sys.stderr)
        return 2
    report = make_report(sources, process)
    if arguments.json:
        print(as_json(report, process))
    else:
        show(report, Console())
    return 2 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
