"""The page on environment variables, generated from their declarations in `core/config`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.config.elsewhere import ELSEWHERE
from core.config.processes import COMMANDS, SECTIONS, all_variables, read_by
from core.config.variables import Variable
from infra.reference.markdown import code, document, table

HEADS = ("variable", "meaning", "default", "unit", "read by")
SET_BY_COMPOSE = {
    "MUSTER_DATA_DIR": "the images set `/data`, a volume",
    "XDG_DATA_HOME": "`/data` is the data folder",
    "MUSTER_REQUIRE_KEY": "the API's image sets `true`: a container has no loopback callers",
    "AZURE_STORAGE_CONNECTION_STRING_FILE": "the file that its own Azurite writes",
    "AZURE_STORAGE_CONNECTION_STRING": "it brings its own Azurite",
    "AZURE_STORAGE_ACCOUNT_URL": "it brings its own Azurite",
    "AZURE_CLIENT_ID": "it brings its own Azurite",
    "MONGO_URI": "it brings its own MongoDB",
    "MONGO_DETAILS": "it brings its own MongoDB",
}
"""Variables that `docker-compose.yml` does not pass on, each with the reason."""

_INTRO = """Muster is configured by environment variables. A variable that is not in the
environment is looked up in the file `.env` in the folder where the process starts. A blank value
means that the variable is not set; a blank variable in the environment also hides the value in
`.env`.

`muster config` prints the value of each variable and where it comes from, and reports wrong
values and names. A process refuses to start with a wrong value of a variable that it reads.
Other variables do not affect it."""

_COMPOSE = """`docker-compose.yml` passes each variable to the containers that read it, from the
shell or from `.env` beside it. It does not pass these, which the containers set themselves:"""

_ELSEWHERE = (
    "Libraries, the installer and the tests read these; `muster config` does not list them."
)


def page() -> str:
    """Return the page."""
    parts = [_INTRO, "## Processes", _processes()]
    titles = dict.fromkeys(kind.title for kind in SECTIONS)
    for title in titles:
        variables = [item for item in all_variables() if item.section.title == title]
        parts += [f"## {title}", table(HEADS, map(_row, variables))]
    elsewhere = (
        (code(item.name), item.meaning, item.reason, _codes(item.read_by)) for item in ELSEWHERE
    )
    parts += ["## Variables of libraries and tools", _ELSEWHERE]
    parts += [table(("variable", "meaning", "reason", "read by"), elsewhere)]
    kept = ((code(name), reason) for name, reason in SET_BY_COMPOSE.items())
    parts += ["## Docker Compose", _COMPOSE, table(("variable", "reason"), kept)]
    return document("Configuration", "`core/config`", *parts)


def _processes() -> str:
    rows = ((code(name), command) for name, command in COMMANDS.items())
    return table(("process", "command"), rows)


def _row(variable: Variable) -> Sequence[str]:
    names = " or ".join(map(code, variable.names))
    return names, _meaning(variable), _default(variable), variable.unit, _codes(read_by(variable))


def _meaning(variable: Variable) -> str:
    limits = variable.limits
    sentences = [variable.meaning]
    if variable.choices:
        sentences.append(f"One of {_codes(variable.choices)}.")
    # The variable's description states where 0 is allowed, and its effect.
    if limits.get("ge"):
        sentences.append(f"At least {limits['ge']:g}.")
    if "gt" in limits:
        sentences.append(f"Above {limits['gt']:g}.")
    if "le" in limits:
        sentences.append(f"At most {limits['le']:g}.")
    if variable.secret:
        sentences.append("Secret.")
    return " ".join(sentences)


def _default(variable: Variable) -> str:
    text = variable.default_text
    if not text:
        return ""
    if text.startswith(("an ", "no ", "that ", "the ")):
        return text
    return code(text) + _in_words(variable)


def _in_words(variable: Variable) -> str:
    """Return a large number of bytes in a readable unit."""
    value = variable.default
    if variable.unit != "bytes" or not isinstance(value, int):
        return ""
    names = ("bytes", "KiB", "MiB", "GiB", "TiB")
    power = max(power for power in range(len(names)) if value % 1024**power == 0)
    return f" ({value // 1024**power} {names[power]})" if power else ""


def _codes(names: Iterable[str]) -> str:
    return ", ".join(map(code, names))
