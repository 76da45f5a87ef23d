"""Looking after the vault: `wa vault`, or `python -m actors.vault`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

import structlog
from rich.console import Console
from rich.table import Table

from actors.vault import keys
from actors.vault.keys import BadKey, Keys, NotRotated
from actors.vault.shelves import DiskShelf, RedisShelf, Shelf, ShelfAway, open_redis
from actors.vault.snapshot import Damaged, NoKey
from actors.vault.vault import Found, Vault, VaultAway
from events.bar import bar
from events.settings import BadSettings, Settings, load
from events.subjects import BadToken, SessionId

EPILOG = """\
A session is written `user.bot`. Configured by the environment: DATA_DIR, VAULT_KEY,
REDIS_URL, REDIS_HOST, REDIS_PORT, REDIS_PASSWORD, SANDBOX_URL. Without a Redis that answers
there is only what lies on this machine's disk.
"""


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return an exit status."""
    told = _parser().parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        return asyncio.run(_run(told, load()))
    except (BadSettings, BadKey, NotRotated, BadToken) as error:
        why = str(error)
    except (ShelfAway, VaultAway, NoKey) as error:
        why = str(error)
    except Damaged as error:
        why = f"{told.file}: {error}"
    except OSError as error:
        why = f"{error.filename or 'the vault'}: {error.strerror or error}"
    print(f"wa vault: {why}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wa vault",
        description="Snapshots of browser profiles: what a link can be restored from.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="every snapshot, on this disk and in Redis")
    commands.add_parser("verify", help="decrypt every snapshot; status 1 if one does not open")
    for name, what in (
        ("export", "write a session's newest snapshot that verifies, still sealed, to a file"),
        ("import", "put a sealed snapshot from a file into the vault"),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument("session", metavar="USER.BOT", type=SessionId.parse)
        command.add_argument("file", metavar="FILE", type=Path)
    rotate = commands.add_parser("rotate", help="make a new key and seal every snapshot with it")
    rotate.add_argument(
        "--reseal", action="store_true", help="no new key: only seal with the first one there is"
    )
    return parser


async def _run(told: argparse.Namespace, settings: Settings) -> int:
    if told.command == "rotate" and not told.reseal:
        keys.rotate(settings)
    redis = open_redis(settings)
    disk = DiskShelf(settings.vault, settings.vault_keep)
    shelves: list[Shelf] = [RedisShelf(redis, settings.vault_hours), disk]
    out = Console(soft_wrap=True)
    try:
        try:
            await shelves[0].sessions()
        except ShelfAway as away:
            print(f"wa vault: without Redis: {away}", file=sys.stderr)
            shelves = [disk]
        vault = Vault(shelves, lambda: Keys.open(settings), settings.vault_max_mb)
        match told.command:
            case "list" | "verify":
                verify = told.command == "verify"
                with bar(told.command) as progress:
                    found = await vault.look(verify=verify, progress=progress)
                out.print(_table(found))
                return 1 if verify and any(about.fault for about in found) else 0
            case "export":
                await _export(vault, told.session, told.file)
            case "import":
                saved = await vault.take_in(told.session, told.file.read_bytes())
                print(f"generation {saved.generation} is in the vault: {', '.join(saved.shelves)}")
            case _:
                with bar("seal") as progress:
                    count = await vault.reseal(progress)
                print(
                    f"{count} snapshots sealed anew with key {Keys.open(settings).first.id.hex()}"
                )
    finally:
        await redis.aclose()
    return 0


async def _export(vault: Vault, session: SessionId, file: Path) -> None:
    newest = await vault.newest(session)
    if newest is None:
        raise VaultAway(f"there is no snapshot of {session.dotted} that verifies")
    generation, sealed = newest
    _write(file, sealed)
    print(f"generation {generation}, {len(sealed)} bytes, sealed: {file}")


def _write(file: Path, sealed: bytes) -> None:
    # Never over what is there.
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
        written.write(sealed)


def _table(found: list[Found]) -> Table:
    table = Table("SESSION", "WHERE", "GENERATION", "TAKEN", "BYTES", "KEY", "")
    for about in found:
        table.add_row(
            about.session.dotted,
            about.source,
            str(about.generation),
            about.taken.isoformat(timespec="seconds") if about.taken else "",
            str(about.size),
            about.key or "",
            about.fault or "",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
