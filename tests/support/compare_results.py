"""Comparison of two folders of result files: `python -m tests.support.compare_results BEFORE AFTER
[--words]`.

Every file is compared by its SHA-256. `run.json` is left out: it holds times and the host.
`python -m tests.support.worker_results` makes such a folder on the whole worker path.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

RUN_FILES = frozenset({"run.json"})
WORD_KEYS = frozenset({"reasons", "warnings", "version"})
"""Keys of JSON files, at any depth, that `--words` leaves out."""
WORD_COLUMNS = {"animals.csv": frozenset({"reason"})}
"""Columns of CSV files that `--words` leaves out."""
WORD_PICTURES = frozenset({"contact_sheet.jpg"})
"""Pictures with captions: `--words` compares only that they are there."""

Verdict = Literal["same", "differs", "only before", "only after", "not compared"]
EQUAL: frozenset[Verdict] = frozenset({"same", "not compared"})


@dataclass(frozen=True, slots=True)
class Compared:
    """One line of the comparison.

    Attributes:
        name: Path inside the folder, with slashes.
        before: SHA-256 (hex), None where the file is missing.
        after: Likewise.
        verdict: What the comparison found.
    """

    name: str
    before: str | None
    after: str | None
    verdict: Verdict


def compare(before: Path, after: Path, *, words: bool = False) -> list[Compared]:
    """Compare all files of two folders.

    Args:
        before: A folder of result files, searched with its subfolders.
        after: Likewise.
        words: Leave out what is written for people: reasons, warnings, the version, the contact
            sheet.

    Returns:
        One record per file, in order of name.

    Raises:
        ValueError: One of the folders does not exist or holds no result file.
    """
    files = [_files(folder) for folder in (before, after)]
    result = []
    for name in sorted({*files[0], *files[1]}):
        one, other = (_digest(found[name], words) if name in found else None for found in files)
        result.append(Compared(name, one, other, _verdict(name, one, other, words)))
    return result


def _files(folder: Path) -> dict[str, Path]:
    found = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in RUN_FILES
    }
    if not found:
        raise ValueError(f"{folder} holds no result files.")
    return found


def _verdict(name: str, before: str | None, after: str | None, words: bool) -> Verdict:
    if before is None:
        return "only after"
    if after is None:
        return "only before"
    if words and Path(name).name in WORD_PICTURES:
        return "not compared"
    return "same" if before == after else "differs"


def _digest(path: Path, words: bool) -> str:
    data = path.read_bytes()
    if words and path.suffix in (".json", ".geojson"):
        data = json.dumps(_without_words(json.loads(data))).encode()
    elif words and path.name in WORD_COLUMNS:
        data = _without_columns(data.decode(), WORD_COLUMNS[path.name]).encode()
    return hashlib.sha256(data).hexdigest()


def _without_words(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_words(inner) for key, inner in value.items() if key not in WORD_KEYS}
    return [_without_words(inner) for inner in value] if isinstance(value, list) else value


def _without_columns(text: str, columns: frozenset[str]) -> str:
    rows = list(csv.reader(io.StringIO(text)))
    kept = [at for at, name in enumerate(rows[0]) if name not in columns] if rows else []
    out = io.StringIO()
    csv.writer(out).writerows([row[at] if at < len(row) else "" for at in kept] for row in rows)
    return out.getvalue()


def table(lines: list[Compared]) -> str:
    """Return the comparison as text, one file a line."""
    width = max(len(line.name) for line in lines)
    rows = [f"{'file':{width}}  {'before':12}  {'after':12}  verdict"]
    rows += [
        f"{line.name:{width}}  {(line.before or '-')[:12]:12}  {(line.after or '-')[:12]:12}  {line.verdict}"
        for line in lines
    ]
    return "\n".join(rows)


def main(argv: list[str] | None = None) -> int:
    """Print the comparison; return 0 where the folders are equal, 1 where they differ, 2 where
    there is nothing to compare.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.compare_results",
        description="Compare two folders of result files.",
    )
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument(
        "--words",
        action="store_true",
        help="leave out reasons, warnings, the version and the contact sheet",
    )
    options = parser.parse_args(argv)
    try:
        lines = compare(options.before, options.after, words=options.words)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(lines))
    return int(any(line.verdict not in EQUAL for line in lines))


if __name__ == "__main__":
    raise SystemExit(main())
