"""Backing up and restoring: `wa backup` and `wa restore`, or `python -m actors.backup`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import logging
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import structlog
from nats.aio.client import Client

from actors.backup import backing_up
from actors.backup.backing_up import CannotBackUp
from actors.backup.broker import ours, there
from actors.backup.file import Backup, NotABackup
from actors.backup.folder import NATS, Folder
from actors.backup.manifest import Manifest
from actors.backup.restoring import CannotRestore, Restore
from actors.backup.streams import BrokerRefused
from actors.machine.part import DidNotStart
from actors.machine.ports import InUse
from actors.up import CannotStart, alone
from events.bar import bar
from events.connection import NoBroker
from events.settings import BadSettings, Settings, load
from events.subjects import COMMANDS, EVENTS

EPILOG = """\
Configured by the environment: DATA_DIR, SANDBOX_URL, REDIS_URL, REDIS_HOST,
REDIS_PORT, REDIS_PASSWORD, and for a broker of yours NATS_URL with NATS_PASSWORD, which must be
the node's: only its user may copy streams.
"""


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return an exit status."""
    told = _parser().parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        settings = load()
        if told.command == "backup":
            asyncio.run(_back_up(settings, told.file))
        else:
            asyncio.run(_restore(settings, told.file, told.replace))
    except (BadSettings, CannotBackUp, CannotRestore, CannotStart, NotABackup) as error:
        why = str(error)
    except (BrokerRefused, NoBroker, DidNotStart, InUse) as error:
        why = str(error)
    except FileExistsError as error:
        why = f"{error.filename}: there is one already, and a backup is never written over anything"
    except OSError as error:
        why = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        if error.errno == errno.ENOSPC:
            why = "the disk is full: make room, or name another one; nothing was changed"
    except KeyboardInterrupt:
        return 130
    else:
        return 0
    print(f"wa {told.command}: {why}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wa",
        description="The log, the keys and the vault in one file, and back.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    backup = commands.add_parser(
        "backup", help="write everything that cannot be made anew to a new file, 0600"
    )
    backup.add_argument("file", metavar="FILE", type=Path)
    restore = commands.add_parser("restore", help="bring it back, with the service stopped")
    restore.add_argument("file", metavar="FILE", type=Path)
    restore.add_argument(
        "--replace", action="store_true", help="what is there gives way to the backup"
    )
    return parser


async def _back_up(settings: Settings, file: Path) -> None:
    async with _broker(settings) as client:
        with bar("backup", "bytes") as progress:
            manifest = await backing_up.back_up(client, settings, file, progress)
    size = sum(part.size for part in manifest.parts) / 1e6
    print(f"{file}: {_told(manifest)}, {size:.1f} MB, read back and whole.")
    for path in (settings.webhook_key_file, settings.vault_key_file):
        if f"files/{path.name}" not in {part.name for part in manifest.parts}:
            variable = path.name.replace("-", "_").upper()
            print(f"There is no {path.name} here. If {variable} is set, keep it as well.")
    print("It holds keys and what people wrote, readable by whoever has it: keep it as a secret.")


async def _restore(settings: Settings, file: Path, replace: bool) -> None:
    with Backup(file) as backup:
        if settings.nats_url is None:
            with alone(settings.home), bar("restore", "bytes") as progress:
                done = await Restore(settings, backup, replace, progress).embedded()
        else:
            async with there(settings) as client:
                with bar("restore", "bytes") as progress:
                    done = await Restore(settings, backup, replace, progress).into(client)
    print(f"{_told(done.manifest)} are back, as of {done.manifest.made:%Y-%m-%d %H:%M} UTC.")
    if done.aside is not None:
        print(f"What was there before lies in {done.aside}; remove it when all is well.")
    waiting = sum(
        part.stream.messages
        for part in done.manifest.named("streams")
        if part.stream is not None and part.name.endswith(COMMANDS)
    )
    if waiting:
        print(
            f"{waiting} commands were waiting then. They are carried out at the start, or expire; "
            "what was sent after the backup was made may be sent again."
        )
    print("Start the service. The read models are made anew from the log by themselves.")


@contextlib.asynccontextmanager
async def _broker(settings: Settings) -> AsyncGenerator[Client]:
    """Connect to the broker that runs, or run the embedded one for the while."""
    if settings.nats_url is not None:
        async with there(settings) as client:
            yield client
        return
    folder = Folder(settings)
    if not (folder.home / NATS).is_dir():
        raise CannotBackUp(f"no service has run on {folder.home}: set DATA_DIR, or NATS_URL")
    with alone(folder.home):
        async with ours(settings, folder.home / NATS) as client:
            yield client


def _told(manifest: Manifest) -> str:
    events = next(
        part.stream.last
        for part in manifest.named("streams")
        if part.stream is not None and part.name.endswith(EVENTS)
    )
    files = [part.name.partition("/")[2] for part in manifest.named("files")]
    keys = [name for name in files if not name.endswith(".snapshot")]
    return (
        f"the log up to position {events}, files of keys ({', '.join(keys) or 'none'}), "
        f"snapshots of profiles ({len(files) - len(keys)})"
    )


if __name__ == "__main__":
    sys.exit(main())
