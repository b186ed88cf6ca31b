"""Every error code in the source, with its class and sentence, found without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from core import errors

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("api", "core", "worker", "ml_engine", "infra")
EXPANDED = {"{…}_outside_frame": ("line_outside_frame", "zone_outside_frame")}
"""Codes that are composed at run time."""
REPORTS = ("Failure", "Waiting", "HealthProblem", "Finding")
"""Records with a code of their own: a failed job, a waiting job, a problem in `/health`."""
PORT_ANSWERS = ("problem", "raw_problem")
"""Functions of `api` that return a problem. Their arguments are (path, status, code, sentence) or
(status, code, sentence).
"""


@dataclass(frozen=True, slots=True)
class Raised:
    """A place in the source that raises or reports a code.

    Attributes:
        code: The code, for programs.
        kind: Name of the error's class, or of the record that carries the code.
        status: HTTP status given at this place; None: the status of the class.
        sentence: The sentence, with `…` for values; empty if it is composed elsewhere.
        package: Top-level package.
    """

    code: str
    kind: str
    status: int | None
    sentence: str
    package: str


@cache
def error_classes() -> dict[str, type[errors.MusterError]]:
    """Return every class of `core/errors.py` by its name."""
    return {
        name: item
        for name, item in vars(errors).items()
        if isinstance(item, type) and issubclass(item, errors.MusterError)
    }


def raised() -> list[Raised]:
    """Return every place in the source that raises or reports a code."""
    paths = [
        path
        for package in PACKAGES
        for path in sorted((REPOSITORY / package).rglob("*.py"))
        if "node_modules" not in path.parts
    ]
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    constants = _constants(trees)
    return [
        place
        for path, tree in trees.items()
        for place in raised_in(tree, path.relative_to(REPOSITORY).parts[0], constants)
    ]


def _constants(trees: dict[Path, ast.Module]) -> dict[str, str]:
    """Return the texts of constants by name. A name with two meanings is left out."""
    found: dict[str, set[str]] = {}
    for tree in trees.values():
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(
                node.value, ast.Constant | ast.JoinedStr
            ):
                for target in node.targets:
                    if isinstance(target, ast.Name) and target.id.strip("_").isupper():
                        found.setdefault(target.id, set()).add(_text(node.value, {}))
    return {
        name: text
        for name, texts in found.items()
        if len(texts) == 1 and (text := texts.copy().pop())
    }


def raised_in(tree: ast.Module, package: str, shared: dict[str, str]) -> Iterator[Raised]:
    own = {
        target.id: _text(node.value, {})
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    known = {**shared, **{name: text for name, text in own.items() if text}}
    for function in ast.walk(tree):
        if isinstance(function, ast.ClassDef):
            yield from _in_subclass(function, package, known)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
            local = known if function is tree else {**known, **_assigned(function)}
            for call in _calls(function):
                yield from _from_call(call, package, local)


def _in_subclass(node: ast.ClassDef, package: str, known: dict[str, str]) -> Iterator[Raised]:
    """Yield the codes that subclasses of an error define."""
    bases = [ast.unparse(base).rsplit(".", 1)[-1] for base in node.bases]
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__":
            for base in set(bases) & set(error_classes()):
                named = ast.Call(ast.Name(base), call.args, call.keywords)
                yield from _from_call(named, package, known)


def _assigned(function: ast.AST) -> dict[str, str]:
    """Return the texts that are assigned to local variables."""
    return {
        target.id: text
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and (text := _text(node.value, {}))
    }


def _calls(function: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls of a function, but not those of functions within it."""
    waiting = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Call):
            yield node
        waiting += ast.iter_child_nodes(node)


def _from_call(call: ast.Call, package: str, known: dict[str, str]) -> Iterator[Raised]:
    name = ast.unparse(call.func).rsplit(".", 1)[-1]
    kinds = error_classes()
    given = {each.arg: _text(each.value, known) for each in call.keywords if each.arg}
    texts = [_text(argument, known) for argument in call.args]
    first = texts[0] if texts else given.get("message", "")
    if name in kinds:
        code = given.get("code", kinds[name].default_code)
        yield from _expanded(code, name, None, first, package)
    elif name in REPORTS:
        code, *rest = [*texts, "", ""] if "code" not in given else [given["code"], ""]
        yield from _expanded(code, name, None, given.get("message", rest[0]), package)
    elif name == "HttpError":
        yield from _expanded(given.get("code", ""), name, _number(call), texts[-1], package)
    elif name == "Slow" and len(texts) > 1:
        yield from _expanded(texts[1], name, 408, first, package)
    elif name in PORT_ANSWERS and len(texts) >= 3 and (status := _number(call)):
        yield from _expanded(*_code_and_sentence(texts, name, status), package)


def _code_and_sentence(texts: list[str], name: str, status: int) -> tuple[str, str, int, str]:
    place = 1 if name == "raw_problem" else 2
    return texts[place], "HttpError", status, texts[place + 1] if len(texts) > place + 1 else ""


def _number(call: ast.Call) -> int | None:
    numbers = [
        argument.value
        for argument in call.args[:2]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, int)
    ]
    return numbers[0] if numbers else None


def _expanded(
    code: str, kind: str, status: int | None, sentence: str, package: str
) -> Iterator[Raised]:
    for each in EXPANDED.get(code, (code,)):
        if each and "…" not in each:
            yield Raised(each, kind, status, sentence, package)


def _text(node: ast.expr, known: dict[str, str]) -> str:
    """Return the text of an expression, with `{…}` for its values; empty: not a text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_part(part, known) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, known) + _text(node.right, known)
    if isinstance(node, ast.Name):
        return known.get(node.id, "")
    if isinstance(node, ast.IfExp):
        return _text(node.body, known) or _text(node.orelse, known)
    return ""


def _part(part: ast.expr, known: dict[str, str]) -> str:
    if isinstance(part, ast.FormattedValue):
        name = ast.unparse(part.value)
        return known[name] if name in known and name.strip("_").isupper() else "{…}"
    return _text(part, known)


def readable(sentence: str) -> str:
    """Return a sentence with `…` for each value."""
    return sentence.replace("{…}", "…").replace("….", "…")
