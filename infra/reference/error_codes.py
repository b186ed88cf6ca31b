"""The page on error codes: the meaning and HTTP status of each, and what to do."""

from __future__ import annotations

from collections.abc import Iterable

from api.problems import HTTP_CODES, HTTP_DETAILS, STATUS
from infra.reference.markdown import anchor, code, document, table
from infra.reference.raised import REPORTS, Raised, error_classes, raised, readable

_INTRO = """`code` is stable and for programs. The sentence beside it is for people and may
change. `…` stands for a value. A link to `#code-` and the code leads to the code's row. The API
responds with the status. A worker fails the job (`permanent`) or retries the step (`transient`). A
command prints the sentence and exits with status 1 or 2."""

_CLASSES = """The class determines how a code is handled. The default code of a class appears
only where no more specific code exists."""

_OTHERS = (
    *(
        Raised(HTTP_CODES[status], "HttpError", status, detail, "api")
        for status, detail in HTTP_DETAILS.items()
    ),
    Raised("http_error", "HttpError", None, "Another error of HTTP itself.", "api"),
)
"""Codes that `api/problems.py` gives to errors of the web framework."""

_MOST_SENTENCES = 3


def page() -> str:
    """Return the page."""
    places = [*raised(), *_OTHERS]
    failures = [place for place in places if place.kind not in REPORTS]
    reports = [place for place in places if place.kind in REPORTS]
    seen: set[str] = set()
    errors = table(
        ("code", "status", "treatment", "sentences"),
        ((_anchored(name, seen), *_row(each)) for name, each in _by_code(failures)),
    )
    others = table(
        ("code", "where", "sentences"),
        (
            (_anchored(name, seen), _places(each), _sentences(each))
            for name, each in _by_code(reports)
        ),
    )
    classes = table(
        ("class", "default code", "status", "treatment"),
        (
            (code(name), _anchored(kind.default_code, seen), _status(name), _treatment(name))
            for name, kind in error_classes().items()
        ),
    )
    return document(
        "Error codes",
        "`core/errors.py` and every place that raises an error",
        _INTRO,
        errors,
        "## Codes of jobs and of `/health`",
        "These appear, with the codes above, in `error` of a failed job, `waiting` of a "
        "waiting job and `problems` of `/health`.",
        others,
        "## Classes",
        _CLASSES,
        classes,
    )


def _by_code(places: Iterable[Raised]) -> list[tuple[str, list[Raised]]]:
    found: dict[str, list[Raised]] = {}
    for place in places:
        found.setdefault(place.code, []).append(place)
    return sorted(found.items())


def _anchored(name: str, seen: set[str]) -> str:
    """Return a code. Where it appears first, it has the anchor `code-<name>`, for links."""
    if name in seen:
        return code(name)
    seen.add(name)
    return anchor(f"code-{name}") + code(name)


def _row(places: Iterable[Raised]) -> tuple[str, str, str]:
    places = list(places)
    statuses = dict.fromkeys(
        str(place.status) if place.status else _status(place.kind) for place in places
    )
    treatments = dict.fromkeys(_treatment(place.kind) for place in places)
    return ", ".join(statuses), ", ".join(treatments), _sentences(places)


def _sentences(places: Iterable[Raised]) -> str:
    texts = list(dict.fromkeys(readable(place.sentence) for place in places if place.sentence))
    more = " …" if len(texts) > _MOST_SENTENCES else ""
    return " / ".join(texts[:_MOST_SENTENCES]) + more


def _places(places: Iterable[Raised]) -> str:
    words = {
        "Failure": "failed job",
        "Waiting": "waiting job",
        "HealthProblem": "`/health`",
        "Finding": "`/health`",
    }
    return ", ".join(dict.fromkeys(words[place.kind] for place in places))


def _status(name: str) -> str:
    kind = error_classes().get(name)
    if kind is None:
        return "–"
    return str(next(STATUS[each] for each in kind.__mro__ if each in STATUS))


def _treatment(name: str) -> str:
    bases = [each.__name__ for each in getattr(error_classes().get(name), "__mro__", ())]
    if "TransientError" in bases:
        return "transient"
    return "permanent" if "PermanentError" in bases else "–"
