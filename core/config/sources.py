"""Lookup of variables: the environment first, then `.env` in the folder of the start."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from core.errors import InvalidConfiguration

ENV_FILE = ".env"


@dataclass(frozen=True, slots=True)
class Found:
    """What a lookup gave.

    Attributes:
        name: The name under which it was found; empty: it was not.
        value: The text; None: the variable is not set.
        place: `environment`, the path of the `.env` file, or `default`.
    """

    name: str
    value: str | None
    place: str


class Sources:
    """Environment variables and an `.env` file. Upper and lower case are the same, as ever.

    Args:
        environment: Variables of the process.
        file: Variables of the file.
        path: The file.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        file: Mapping[str, str | None] | None = None,
        path: Path | None = None,
    ) -> None:
        self._layers = (
            ("environment", _by_upper_name(environment)),
            (str(path), _by_upper_name(file or {})),
        )

    @classmethod
    def of_process(cls, env_file: str | None = ENV_FILE) -> Sources:
        """Return the sources of this process.

        Args:
            env_file: The file, as seen from the current folder; None: none.

        Raises:
            InvalidConfiguration: The file cannot be read.
        """
        path = None if env_file is None else Path(env_file).absolute()
        if path is None or not path.is_file():
            return cls(os.environ)
        try:
            return cls(os.environ, dotenv_values(path, encoding="utf-8"), path)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise InvalidConfiguration(
                f"The file {path} cannot be read: {reason}. Correct or remove it."
            ) from error

    def look_up(self, names: Sequence[str]) -> Found:
        """Return the value of a variable that may have several names.

        A blank value means that the variable is not set. In the environment it also hides the
        value of the `.env` file: `make run` takes an operator's storage away from its parts so.
        """
        for place, values in self._layers:
            found = [(name, values[name]) for name in names if name in values]
            for name, value in found:
                if value.strip():
                    return Found(name, value, place)
            if found:
                return Found(found[0][0], None, "default")
        return Found("", None, "default")

    def names(self, prefix: str) -> dict[str, str]:
        """Return the names that begin with a prefix, each with the place where it is set."""
        return {
            name: place
            for place, values in reversed(self._layers)
            for name in values
            if name.startswith(prefix)
        }


def _by_upper_name(values: Mapping[str, str | None]) -> dict[str, str]:
    # A name that is written as it is documented comes before other spellings of it.
    ordered = sorted(values.items(), key=lambda item: item[0].isupper())
    return {name.upper(): value or "" for name, value in ordered}
