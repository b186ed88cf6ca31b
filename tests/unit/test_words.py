"""Words that documents, docstrings, comments and printed sentences do not use.

They name no one in particular, or read as a translation. Say which animal, track, caller, owner
or worker is meant.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.unit.test_structure import python_files

INSTEAD = {
    "nobody": "no animal, no caller, no worker; or the passive",
    "somebody": "a caller, a person, another process",
    "anybody": "any caller, any person",
    "everybody": "all callers, all owners, all animals",
    "everyone": "every animal, all owners",
    "whoever": "the caller that, the worker that",
    "whomever": "the caller that",
    "anew": "again, new",
    "of then": "of that time",
    "by and by": "over time",
}
_WORDS = re.compile(rf"\b({'|'.join(INSTEAD)})\b", re.IGNORECASE)


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of comments, strings and docstrings, or of a document's lines."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def files() -> list[Path]:
    modules = python_files("api", "core", "infra", "ml_engine", "worker")
    folders = ("docs", "infra", "ml_engine")
    pages = [
        *REPOSITORY.glob("*.md"),
        *(page for folder in folders for page in (REPOSITORY / folder).rglob("*.md")),
    ]
    generated = REPOSITORY / "docs" / "reference"
    built = REPOSITORY / "docs" / "_build"
    return [
        *modules,
        *(page for page in pages if generated not in page.parents and built not in page.parents),
    ]


def found(paths: list[Path]) -> list[str]:
    return [
        f"{path}:{line}: '{match[0]}' (instead: {INSTEAD[match[0].lower()]})"
        for path in paths
        for line, text in sentences(path)
        for match in _WORDS.finditer(text)
    ]


def test_documents_docstrings_and_sentences_name_whom_they_mean() -> None:
    assert found(files()) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("module.py", '"""Tell nobody."""\n'),
        ("module.py", "x = 1  # written anew\n"),
        ("module.py", 'say = f"Whoever asks {1}"\n'),
        ("page.md", "What everybody knows\n"),
    ],
)
def test_the_words_are_found(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert len(found([tmp_path / name])) == 1


def test_the_files_are_those_of_the_project() -> None:
    names = {path.relative_to(REPOSITORY).as_posix() for path in files()}
    assert {"README.md", "ARCHITECTURE.md", "core/errors.py", "worker/main.py"} <= names
    assert len(names) > 300
