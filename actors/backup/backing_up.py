"""Making a backup: the streams, the keys of this machine, the snapshots that can be reached."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from nats.aio.client import Client

from actors.backup import streams
from actors.backup.broker import version_of
from actors.backup.file import Draft, Spool
from actors.backup.folder import VAULT, Folder
from actors.backup.manifest import Manifest
from actors.vault.shelves import RedisShelf, ShelfAway, open_redis
from events import subjects
from events.bar import Advance
from events.clock import utc_now
from events.settings import Settings


class CannotBackUp(Exception):
    """Something is in the way, and it says what and how to mend it."""


async def back_up(client: Client, settings: Settings, file: Path, progress: Advance) -> Manifest:
    """Write everything to a file that is there only when it is whole; return what is in it.

    Raises CannotBackUp, BrokerRefused, NotABackup if it does not read back, and OSError.
    """
    folder = Folder(settings)
    sizes = {name: path.stat().st_size for name, path in folder.files()}
    standing = {name: await streams.standing(client, name) for name in streams.COPIED}
    # A stream that is not there yet is one that a version before this did not have.
    there = [name for name, found in standing.items() if found is not None]
    if subjects.EVENTS not in there:
        raise CannotBackUp("there is no log on this broker: has the service run here yet?")
    sizes |= {name: found.size for name, found in standing.items() if found is not None}
    expected = sum(sizes.values())
    # A stream is spooled beside the file; the largest is there twice for a moment.
    _room(file, expected + max(sizes.values()))
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        progress(done, max(expected, done))

    with Draft(file) as draft:
        for stream in there:
            with draft.spool() as spooled:

                def write(piece: bytes, spooled: Spool = spooled) -> None:
                    spooled.write(piece)
                    count(len(piece))

                described = await streams.copy(client, stream, write)
                draft.add_spooled(f"streams/{stream}", spooled, described)
            # The copy is compressed: what it saved is done as well.
            count(max(0, sum(sizes[name] for name in there[: there.index(stream) + 1]) - done))
        held = set[str]()
        for name, path in folder.files():
            # An older snapshot may give way to a newer one while we look.
            with contextlib.suppress(FileNotFoundError):
                draft.add(f"files/{name}", path.read_bytes())
                held.add(name)
                count(sizes.get(name, 0))
        async for name, sealed in _elsewhere(settings, held):
            draft.add(f"files/{name}", sealed)
            count(len(sealed))
        manifest = Manifest(
            broker=version_of(client),
            made=utc_now(),
            mode="sandbox" if settings.sandbox_url else "live",
            parts=draft.parts,
        )
        draft.finish(manifest)
    return manifest


async def _elsewhere(settings: Settings, held: set[str]) -> AsyncIterator[tuple[str, bytes]]:
    """Fetch the newest snapshots of other machines' sessions, as far as Redis has them."""
    if not settings.outside_redis:
        return
    redis = open_redis(settings)
    shelf = RedisShelf(redis, settings.vault_hours)
    try:
        for session in await shelf.sessions():
            for generation in await shelf.generations(session):
                name = f"{VAULT}/{session.dotted}/{generation:08}.snapshot"
                sealed = None if name in held else await shelf.get(session, generation)
                if sealed is not None:
                    yield name, sealed
    except ShelfAway:
        # What lies on this disk is in the file all the same; the caller tells how many.
        return
    finally:
        await redis.aclose()


def _room(file: Path, needed: int) -> None:
    free = shutil.disk_usage(file.absolute().parent).free
    if free < needed:
        raise CannotBackUp(
            f"{file}: up to {needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free there: "
            "make room, or name a file on another disk"
        )
