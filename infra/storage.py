"""`muster azurite`: Azurite alone, for an API and workers that are started by hand."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from core.config.data_folder import DataSection
from core.config.reading import read
from core.errors import InvalidInput
from core.program_name import CommandParser, program_name
from infra.local_stack import LocalStack
from infra.processes import StartError


class _Interrupted(Exception):
    pass


def main(argv: Sequence[str] | None = None) -> int:
    """Run until Ctrl-C or SIGTERM; return the exit status."""
    CommandParser(
        prog=program_name("python -m infra.storage"),
        description="Run Azurite, the storage for one machine, until Ctrl-C. An API and workers "
        "with the same data folder (MUSTER_DATA_DIR) find it automatically.",
    ).parse_args(argv)
    try:
        stack = LocalStack(read(DataSection).data_dir, port=0)
    except InvalidInput as error:
        print(f"Azurite cannot run: {error}", file=sys.stderr)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        stack.prepare(with_api=False)
        stack.start_azurite()
        print(
            f"Azurite runs on the data folder {stack.data_dir}. API and workers find it there, so "
            "no connection string is needed.",
            flush=True,
        )
        assert (
            stack.azurite is not None
            and stack.azurite.child is not None
            and stack.azurite.child.process is not None
        )
        stack.azurite.child.process.wait()
        print(
            "Azurite ended unexpectedly. The end of "
            f"{stack.azurite.child.log_path}:\n{stack.azurite.child.log_tail()}",
            file=sys.stderr,
        )
        return 1
    except StartError as error:
        print(f"Azurite cannot run: {error}", file=sys.stderr)
        return 1
    except (_Interrupted, KeyboardInterrupt):
        return 0
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        stack.stop()


def _interrupt(number: int, frame: object) -> None:
    raise _Interrupted


if __name__ == "__main__":
    sys.exit(main())
