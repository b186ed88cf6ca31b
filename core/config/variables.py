"""Declarations of environment variables: name, type, default, unit, meaning, secret or not.

Everything that lists variables is derived from these declarations: what a process reads, the
reference page, `muster config`, and the environment of child processes.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

Process = Literal["api", "worker", "sweep", "storage", "keys", "run", "count"]
"""The processes that read variables; `core.config.processes` describes them."""

PREFIX = "MUSTER_"
_TIMES = ("seconds", "minutes", "hours", "days")


class Section(BaseModel):
    """Settings of one concern. A process reads a section as a whole, or does not read it."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        # Values may be secrets, and errors are logged.
        hide_input_in_errors=True,
    )

    title: ClassVar[str]

    @field_validator("*")
    @classmethod
    def _is_a_usable_time(cls, value: Any, info: Any) -> Any:
        extra = cls.model_fields[info.field_name].json_schema_extra
        unit = str(extra["unit"]) if isinstance(extra, dict) else ""
        # Times are added to dates, which end with the year 9999.
        longest = timedelta(days=365_250) / timedelta(**{unit: 1}) if unit in _TIMES else math.inf
        if isinstance(value, int | float) and value > longest:
            raise ValueError(f"give {longest:.0f} or less")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _reads_json(cls, value: Any, info: Any) -> Any:
        annotation = cls.model_fields[info.field_name].annotation
        if isinstance(value, str) and str(annotation).startswith("dict["):
            try:
                return json.loads(value)
            except ValueError:
                raise ValueError('give a JSON object, such as {"name": "value"}') from None
        return value


def variable(
    default: Any,
    meaning: str,
    *,
    names: Sequence[str] = (),
    unit: str = "",
    secret: bool = False,
    default_text: str = "",
    also: Sequence[Process] = (),
    **limits: Any,
) -> Any:
    """Return the declaration of one variable, as the default of a section's field.

    Args:
        default: The value where the variable is not set; a function makes a new value each time.
        meaning: Plain sentences for an operator.
        names: Names of the environment variable, the preferred one first. By default the field's
            name in upper case after `MUSTER_`.
        unit: Unit of the value, such as `seconds`.
        secret: Whether the value must never be shown.
        default_text: What the reference page shows as the default, where the value says too little.
        also: Processes that read this variable alone, from the environment only.
        limits: Constraints of pydantic's `Field`, such as `ge`.
    """
    extra: dict[str, Any] = {
        "names": list(names),
        "unit": unit,
        "secret": secret,
        "default_text": default_text,
        "also": list(also),
    }
    given = {"default_factory": default} if callable(default) else {"default": default}
    # A repr must not show what an error must not show.
    return Field(**given, description=meaning, repr=not secret, json_schema_extra=extra, **limits)


@dataclass(frozen=True, slots=True)
class Variable:
    """One declared variable.

    Attributes:
        field: Name of the section's field.
        section: The section that declares it.
        info: pydantic's view of the field.
    """

    field: str
    section: type[Section]
    info: FieldInfo

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the environment variable, the preferred one first."""
        return tuple(self._extra["names"]) or (f"{PREFIX}{self.field.upper()}",)

    @property
    def name(self) -> str:
        """The preferred name."""
        return self.names[0]

    @property
    def meaning(self) -> str:
        """What the variable sets."""
        return self.info.description or ""

    @property
    def unit(self) -> str:
        """Unit of the value; empty: none."""
        return str(self._extra["unit"])

    @property
    def secret(self) -> bool:
        """Whether the value must never be shown."""
        return bool(self._extra["secret"])

    @property
    def also(self) -> tuple[Process, ...]:
        """Processes that read this variable alone, from the environment only."""
        return tuple(self._extra["also"])

    @property
    def default(self) -> Any:
        """The value where the variable is not set."""
        return self.info.get_default(call_default_factory=True)

    @property
    def default_text(self) -> str:
        """The default as the reference page shows it."""
        return str(self._extra["default_text"]) or text_of(self.default)

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that are allowed, where they are few; empty: others."""
        return tuple(str(choice) for choice in get_args(self.info.annotation) if _is_word(choice))

    @property
    def limits(self) -> dict[str, float]:
        """Bounds of the value: `ge`, `gt`, `le`."""
        return {
            name: getattr(item, name)
            for item in self.info.metadata
            for name in ("ge", "gt", "le")
            if getattr(item, name, None) is not None
        }

    @property
    def _extra(self) -> dict[str, Any]:
        extra = self.info.json_schema_extra
        assert isinstance(extra, dict), f"{self.field} is declared without variable()"
        return extra


def _is_word(choice: object) -> bool:
    return isinstance(choice, str)


def variables_of(section: type[Section]) -> tuple[Variable, ...]:
    """Return the variables of a section, those that it shares with others included."""
    return tuple(
        Variable(field, _declares(section, field), info)
        for field, info in section.model_fields.items()
    )


def _declares(section: type[Section], field: str) -> type[Section]:
    for part in reversed(section.__mro__):
        if issubclass(part, Section) and field in inspect.get_annotations(part):
            return part
    raise AssertionError(f"{section.__name__} has no field {field}")


def text_of(value: Any) -> str:
    """Return a value as an environment variable would write it; empty: none."""
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.15g}"
    if isinstance(value, Path):
        return str(value)
    return str(value)
