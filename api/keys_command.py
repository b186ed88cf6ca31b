"""`muster keys create | list | revoke`: API keys, managed on the server without a running API."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from core.config.processes import KeysConfig
from core.domain.access import is_token_owner
from core.domain.clock import Clock, utc_now
from core.errors import InvalidConfiguration, InvalidInput, MusterError, NotFound
from core.private_files import keep_files_private
from core.program_name import CommandParser, program_name
from core.services.access.keys import Keys

_PAGE = 200


def main(arguments: Sequence[str] | None = None, *, clock: Clock = utc_now) -> int:
    """Run one command and return its exit status.

    The status is 0, 1 (the command failed and printed why) or 2 (wrong usage).
    """
    keep_files_private()
    asked = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        return asyncio.run(_run(asked, clock))
    except InvalidConfiguration as error:
        print(error.message, file=sys.stderr)
        return 1
    except InvalidInput as error:
        print(error.message, file=sys.stderr)
        return 2
    except NotFound:
        # The error's sentence names a route of the API.
        print(f"Key not found. `{_name()} list` lists all keys.", file=sys.stderr)
        return 1
    except MusterError as error:
        print(error.message, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 1


def _name() -> str:
    return program_name("python -m api.keys")


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=_name(),
        description="Create, list and revoke API keys in the configured database.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="create a key and show it once")
    create.add_argument(
        "--owner",
        required=True,
        help="owner of the jobs that the key gives access to; 'local' is the user of this "
        "machine, who needs no key; names that begin with 'oidc:' are reserved for tokens",
    )
    create.add_argument(
        "--scopes",
        default="submit,read",
        help="submit, read, admin, separated by commas (default: %(default)s)",
    )
    create.add_argument("--label", default="", help="a label by which you recognise the key")
    create.add_argument(
        "--expires-days",
        type=float,
        help="days until the key expires (default: the key is valid until you revoke it)",
    )
    create.add_argument(
        "--first", action="store_true", help="create a key only if no usable one exists"
    )
    create.add_argument(
        "--file",
        type=Path,
        help="write the key to this file, which only you can read, instead of the screen",
    )
    listed = commands.add_parser(
        "list", help="list the keys; their secrets are not stored and cannot be shown"
    )
    listed.add_argument("--owner", help="list only this owner's keys")
    revoke = commands.add_parser("revoke", help="revoke a key at once, in every process")
    revoke.add_argument(
        "id", help="id of the key, as `list` shows it: the 16 characters after muster_"
    )
    return parser


async def _run(asked: argparse.Namespace, clock: Clock) -> int:
    from core.bootstrap import make_stores  # imports the SDKs, which --help does not need

    store = make_stores(KeysConfig.read().database)["keys"]
    await store.open()
    try:
        keys = Keys(store, clock)
        if asked.command == "create":
            return await _create(keys, asked, clock)
        if asked.command == "list":
            return await _list(keys, asked, clock)
        revoked = await keys.revoke(asked.id)
        print(f"Key {revoked.id} of {revoked.owner} is revoked.")
        return 0
    finally:
        await store.close()


async def _create(keys: Keys, asked: argparse.Namespace, clock: Clock) -> int:
    scopes = [scope.strip() for scope in asked.scopes.split(",") if scope.strip()]
    if asked.first:
        if asked.expires_days is not None:
            raise InvalidInput(
                "--first and --expires-days together would create another key each time "
                "the last one has expired."
            )
        made = await keys.create_first(owner=asked.owner, scopes=scopes, label=asked.label)
        if made is None:
            print("A usable key already exists. No key was created.", file=sys.stderr)
            return 0
    else:
        days = asked.expires_days
        if days is not None and not 0 < days <= 3650:
            raise InvalidInput("--expires-days must be more than 0 and at most 3650.")
        expires = None if days is None else clock() + timedelta(days=days)
        made = await keys.create(
            owner=asked.owner, scopes=scopes, label=asked.label, expires_at_utc=expires
        )
    told = (
        f"Created key {made.key.id} of {made.key.owner} with the scopes "
        f"{', '.join(made.key.scopes)}."
    )
    if asked.file is not None:
        try:
            _write_private(asked.file, made.secret)
        except OSError:
            # The user has not seen the key, so it must not remain valid.
            await keys.revoke(made.key.id)
            raise
        print(f"{told} It was written to {asked.file}.", file=sys.stderr)
        return 0
    print(f"{told} It is shown only this once:", file=sys.stderr)
    print(made.secret)
    return 0


def _write_private(path: Path, secret: str) -> None:
    # The file must be new. The permissions of an existing file, or a link in its place, could give
    # another user access.
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret + "\n")


async def _list(keys: Keys, asked: argparse.Namespace, clock: Clock) -> int:
    table = Table("id", "owner", "scopes", "label", "made", "last used", "state")
    cursor = None
    while True:
        page = await keys.list_page(owner=asked.owner, limit=_PAGE, cursor=cursor)
        for key in page.items:
            state = (
                "good" if key.is_usable(clock()) else "revoked" if key.revoked_at_utc else "expired"
            )
            if state == "good" and is_token_owner(key.owner):
                state = "refused: the owner is a token's"
            elif state == "good" and key.expires_at_utc is not None:
                state = f"valid until {key.expires_at_utc:%Y-%m-%d}"
            used = f"{key.last_used_at_utc:%Y-%m-%d %H:%M}" if key.last_used_at_utc else "never"
            table.add_row(
                key.id,
                key.owner,
                ", ".join(key.scopes),
                key.label,
                f"{key.created_at_utc:%Y-%m-%d %H:%M}",
                used,
                state,
            )
        cursor = page.next_cursor
        if cursor is None:
            break
    Console(width=None if sys.stdout.isatty() else 160, markup=False).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
