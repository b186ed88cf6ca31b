"""Reading of sections from the sources, with one sentence for each value that is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from core.config.sources import Found, Sources
from core.config.variables import Section, Variable, variables_of
from core.errors import InvalidConfiguration

S = TypeVar("S", bound=Section)

_ADVICE = {
    "int_parsing": "Give a whole number.",
    "int_from_float": "Give a whole number.",
    "float_parsing": "Give a number.",
    "finite_number": "Give a finite number.",
    "bool_parsing": "Give true or false.",
    "greater_than": "Give a number above {gt:g}.",
    "greater_than_equal": "Give {ge:g} or more.",
    "less_than_equal": "Give {le:g} or less.",
    "literal_error": "Give {expected}.",
    "dict_type": 'Give a JSON object, such as {{"name": "value"}}.',
}
_ADDRESS = re.compile(r"[^\s,\"']+")
_KEY = re.compile(r"((?:AccountKey|SharedAccessSignature)\s*=)[^;\s]+", re.IGNORECASE)
_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Fault:
    """A value that is refused.

    Attributes:
        code: Stable identifier for programs; empty: the sentence says it all.
        sentence: Which variable has which value, what is wrong, what to do.
        field: The section's field; empty: several together.
    """

    code: str
    sentence: str
    field: str = ""

    def __str__(self) -> str:
        return f"({self.code}) {self.sentence}" if self.code else self.sentence


@dataclass(frozen=True, slots=True)
class ReadSection:
    """A section as it was read.

    Attributes:
        kind: The section's class.
        value: The section; None: it was refused.
        found: Where each field's value came from.
        faults: Why it was refused.
    """

    kind: type[Section]
    value: Section | None
    found: dict[str, Found]
    faults: tuple[Fault, ...]


def read_section(kind: type[Section], sources: Sources) -> ReadSection:
    """Read one section; refusals are returned, not raised."""
    variables = {item.field: item for item in variables_of(kind)}
    found = {field: sources.look_up(item.names) for field, item in variables.items()}
    given = {field: place.value for field, place in found.items() if place.value is not None}
    try:
        return ReadSection(kind, kind.model_validate(given), found, ())
    except ValidationError as error:
        faults = tuple(_fault(item, variables, found) for item in error.errors())
        return ReadSection(kind, None, found, faults)


def read(kind: type[S], sources: Sources | None = None) -> S:
    """Return one section.

    Raises:
        InvalidConfiguration: A value is refused.
    """
    done = read_section(kind, sources or Sources.of_process())
    refuse(done.faults)
    assert isinstance(done.value, kind)
    return done.value


def refuse(faults: Iterable[Fault]) -> None:
    """Raise if there are faults.

    Raises:
        InvalidConfiguration: With every fault, each once.
    """
    different = tuple(dict.fromkeys(faults))
    if different:
        codes = [fault.code for fault in different if fault.code]
        raise InvalidConfiguration(
            "The configuration cannot be used. " + " ".join(map(str, different)),
            code=codes[0] if len(different) == 1 and codes else None,
            faults=different,
        )


def _fault(error: Any, variables: dict[str, Variable], found: dict[str, Found]) -> Fault:
    code, message = error["type"], shown(error["msg"].removeprefix("Value error, "))
    field = str(error["loc"][0]) if error["loc"] else ""
    if not field:
        return Fault("" if code == "value_error" else code, message)
    variable, place = variables[field], found[field]
    name = place.name or variable.name
    if code == "value_error" and name in message:
        return Fault("", message, field)
    advice = _ADVICE.get(code, "").format(**error.get("ctx", {})) or f"{message}."
    if code == "value_error":
        code, advice = "", f"{message[0].upper()}{message[1:]}."
    value = "set" if variable.secret else f"'{shown(place.value or '')}'"
    where = "" if place.place == "default" else f" ({place.place})"
    return Fault(code, f"{name} is {value}{where}. {advice}", field)


def shown(text: str) -> str:
    """Return a text without what may be secret: the login and the query of addresses, and the key
    of a connection string that was given for another variable.
    """
    return _WORD.sub(_without_query, _KEY.sub(r"\1***", _ADDRESS.sub(_without_login, text)))


def _without_login(address: re.Match[str]) -> str:
    scheme, separator, rest = address[0].partition("://")
    # A password that is not percent-encoded may hold slashes and more of these signs.
    _, at, place = rest.rpartition("@")
    return f"{scheme}{separator}***@{place}" if at else address[0]


def _without_query(word: re.Match[str]) -> str:
    scheme, separator, rest = word[0].partition("://")
    place, mark, _ = rest.partition("?")
    return f"{scheme}{separator}{place}?***" if mark else word[0]
