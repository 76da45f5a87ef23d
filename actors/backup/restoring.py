"""Bringing a backup back: everything is looked at before anything is changed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nats.aio.client import Client

from actors.backup import streams
from actors.backup.broker import ours, version_of
from actors.backup.file import Backup
from actors.backup.folder import NATS, VAULT, Folder, put
from actors.backup.manifest import Manifest
from actors.vault.shelves import RedisShelf, ShelfAway, open_redis
from events import subjects
from events.bar import Advance
from events.clock import utc_now
from events.settings import Settings
from events.subjects import SessionId

LOOKS = 4
_BETWEEN_LOOKS = 0.1
"""Readers pull again and again; in between nobody waits for a moment."""


class CannotRestore(Exception):
    """Something is in the way, and it says what and how to mend it."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was brought back, and where that went which gave way to it."""

    manifest: Manifest
    aside: Path | None


class Restore:
    """One backup on its way back. `replace`: what is there gives way."""

    def __init__(
        self, settings: Settings, backup: Backup, replace: bool, progress: Advance
    ) -> None:
        self._settings, self._backup, self._replace = settings, backup, replace
        self._folder = Folder(settings)
        self._staged = settings.home / ".restoring"
        self._manifest = backup.manifest
        self._all = 2 * sum(part.size for part in self._manifest.parts)
        self._done = 0
        self._tell = progress

    async def embedded(self) -> Restored:
        """Make the data folder of a service that is stopped, beside what is there; then swap.

        The caller holds the folder. Raises CannotRestore, NotABackup, BrokerRefused,
        NoBroker, DidNotStart and OSError; nothing is changed then.
        """
        self._check(self._folder.occupied())
        try:
            self._stage()
            async with ours(self._settings, self._staged / NATS) as client:
                self._check_version(client)
                await self._streams(client)
            return self._swap(NATS)
        finally:
            shutil.rmtree(self._staged, ignore_errors=True)

    async def into(self, client: Client) -> Restored:
        """Bring it back into a broker of somebody else, and this machine's part of the folder.

        Raises as `embedded` does. Streams cannot be swapped: should it break off between
        the first and the last of them, it says so, and is to be done again.
        """
        occupied = [name for name in self._folder.occupied() if name != NATS]
        self._check_version(client)
        held = await self._nobody_at(client)
        self._check([*occupied, *held])
        try:
            self._stage()
            for stream in (*held, *streams.LEFT_OUT):
                await streams.remove(client, stream)
            try:
                await self._streams(client)
            except streams.BrokerRefused as refusal:
                raise CannotRestore(
                    f"{refusal}. What was there is gone and the rest is not back yet: "
                    "mend that and say the same again, with --replace"
                ) from refusal
            restored = self._swap()
        finally:
            shutil.rmtree(self._staged, ignore_errors=True)
        await self._hand_out()
        return restored

    # --- before anything is changed ---------------------------------------------

    def _check(self, occupied: list[str]) -> None:
        mode = "sandbox" if self._settings.sandbox_url else "live"
        if self._manifest.mode != mode:
            mend = "unset SANDBOX_URL" if mode == "sandbox" else "set SANDBOX_URL"
            raise CannotRestore(f"this is a backup of the {self._manifest.mode} service: {mend}")
        if occupied and not self._replace:
            raise CannotRestore(
                f"there is something already: {', '.join(occupied)}. "
                "--replace has it give way to the backup"
            )
        self._expect_parts()
        home = self._settings.home
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        free, needed = shutil.disk_usage(home).free, self._all
        if free < needed:
            raise CannotRestore(
                f"{home}: about {needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free: "
                "make room, or set DATA_DIR to another disk"
            )
        self._backup.verify(self._count)

    def _expect_parts(self) -> None:
        copied = {part.name.partition("/")[2] for part in self._manifest.named("streams")}
        # Fewer than these are what an earlier version had; a node declares the rest.
        if unknown := sorted(copied - set(streams.COPIED)):
            raise CannotRestore(
                f"the backup was made by wa-sessions {self._manifest.software}, which keeps "
                f"streams that this version does not know ({', '.join(unknown)}): use that version"
            )
        if subjects.EVENTS not in copied:
            raise CannotRestore("there is no log in this backup")
        for part in self._manifest.named("files"):
            if not self._folder.takes(part.name.partition("/")[2]):
                raise CannotRestore(f"the backup holds a file that is none of ours: {part.name}")

    def _check_version(self, client: Client) -> None:
        made, here = self._manifest.broker, version_of(client)
        if _numbers(made)[:2] > _numbers(here)[:2]:
            raise CannotRestore(
                f"nats-server {made} made the copies and {here} runs here, which may not read "
                "them: run that version, or a newer one"
            )

    async def _nobody_at(self, client: Client) -> list[str]:
        """Name the streams that are there; raise CannotRestore if somebody reads one of them."""
        found = dict[str, streams.Standing | None]()
        for _ in range(LOOKS):
            found = {name: await streams.standing(client, name) for name in streams.COPIED}
            read = [name for name, stands in found.items() if stands is not None and stands.read]
            if read:
                raise CannotRestore(
                    f"the service runs: somebody reads {', '.join(read)}. "
                    "Stop every node, gateway and projector first"
                )
            await asyncio.sleep(_BETWEEN_LOOKS)
        return [name for name, stands in found.items() if stands is not None]

    # --- the way back -----------------------------------------------------------

    def _stage(self) -> None:
        shutil.rmtree(self._staged, ignore_errors=True)
        self._staged.mkdir(mode=0o700)
        for part in self._manifest.named("files"):
            pieces = b"".join(self._backup.pieces(part))
            put(self._staged / part.name.partition("/")[2], pieces)
            self._count(len(pieces))

    async def _streams(self, client: Client) -> None:
        for part in self._manifest.named("streams"):
            if part.stream is None:
                raise CannotRestore(f"the manifest does not describe {part.name}")
            name = part.name.partition("/")[2]
            pieces = self._counted(self._backup.pieces(part))
            await streams.bring_back(client, name, part.stream, pieces, self._settings.replicas)

    def _swap(self, *more: str) -> Restored:
        # The log last: until it is in its place, the folder is not a service's.
        names = [*self._folder.names, VAULT, *more]
        return Restored(self._manifest, self._folder.swap(self._staged, names, utc_now()))

    async def _hand_out(self) -> None:
        """Give the newest snapshots to Redis, where the other nodes find them."""
        if not self._settings.outside_redis:
            return
        newest = dict[SessionId, Path]()
        for _, path in sorted(self._folder.files()):
            if path.suffix == ".snapshot":
                newest[SessionId.parse(path.parent.name)] = path
        redis = open_redis(self._settings)
        shelf = RedisShelf(redis, self._settings.vault_hours)
        try:
            for session, path in newest.items():
                await shelf.put(session, int(path.stem), path.read_bytes())
        except ShelfAway as away:
            raise CannotRestore(
                f"all is back, but other nodes do not have the snapshots: {away}. "
                "Mend that, then wa vault export here and wa vault import there"
            ) from away
        finally:
            await redis.aclose()

    def _counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            yield piece
            self._count(len(piece))

    def _count(self, size: int) -> None:
        self._done += size
        self._tell(self._done, self._all)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))
