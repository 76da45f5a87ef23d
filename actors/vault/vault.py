"""Saving profiles and bringing them back: the newest snapshot that verifies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import structlog

from actors.vault import archive
from actors.vault.keys import Keys
from actors.vault.shelves import Shelf, ShelfAway, Source
from actors.vault.snapshot import Damaged, NoKey, read_header, seal, unseal
from events.bar import Advance, unseen
from events.subjects import SessionId

log = structlog.get_logger()

MB = 1_048_576


class VaultAway(Exception):
    """No shelf took the snapshot, or none could be looked at; the message names each."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A snapshot that lies on at least one shelf; size in bytes, sealed."""

    generation: int
    size: int
    shelves: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Restored:
    """A profile that was brought back; `older` if a newer snapshot was known of."""

    generation: int
    source: Source | Literal["local"]
    older: bool


@dataclass(frozen=True, slots=True)
class Found:
    """One snapshot on one shelf. `fault` says why it would not be restored."""

    session: SessionId
    source: Source
    generation: int
    size: int
    taken: datetime | None
    key: str | None
    fault: str | None = None


class Vault:
    """The shelves of a node, in the order in which they are asked for a profile."""

    def __init__(self, shelves: Sequence[Shelf], keys: Callable[[], Keys], largest_mb: int) -> None:
        """`keys` is asked each time, so that a rotation needs no restart.

        A profile may have `largest_mb` without its caches.
        """
        self._shelves, self._keys = tuple(shelves), keys
        self._largest = largest_mb * MB

    async def save(self, session: SessionId, profile: Path, newest: int, taken: datetime) -> Saved:
        """Seal a profile that nobody is writing to; `newest` is the last generation on record.

        Raises VaultAway if no shelf took it, archive.TooLarge, and OSError if it
        cannot be read.
        """
        packed = await asyncio.to_thread(archive.pack, profile, self._largest)
        generation = 1 + max([newest, *[held for _, held in await self._all(session)]])
        sealed = await asyncio.to_thread(seal, packed, session, generation, taken, self._keys())
        took: list[Source] = []
        troubles: list[str] = []
        for shelf in self._shelves:
            try:
                await shelf.put(session, generation, sealed)
                took.append(shelf.name)
                await self._thin(shelf, session)
            except ShelfAway as away:
                troubles.append(str(away))
                log.warning("vault.shelf_away", session=str(session), error=str(away))
        if not took:
            raise VaultAway("; ".join(troubles))
        return Saved(generation, len(sealed), tuple(took))

    async def restore(self, session: SessionId, profile: Path, newest: int) -> Restored | None:
        """Put the newest snapshot that verifies in place of a profile; None if there is none.

        `newest` is the last generation on record. What lies there is set aside
        under `<name>.damaged`, never overwritten, and only once the snapshot has
        been read. Raises NoKey if one at least as new as all that verify needs a
        key that is not here, VaultAway if no shelf could be looked at, and OSError.
        """
        held = await self._all(session, strict=True)
        # One that was stored and not recorded before the end is newer all the same.
        newest = max([newest, *(generation for _, generation in held)])
        for shelf, generation in held:
            try:
                sealed = await shelf.get(session, generation)
                if sealed is None:
                    continue
                packed = await asyncio.to_thread(self._open, sealed, session, generation)
                await asyncio.to_thread(_replace, packed, profile)
            except (ShelfAway, Damaged, archive.Unpackable) as error:
                log.warning(
                    "vault.snapshot_refused",
                    session=str(session),
                    generation=generation,
                    source=shelf.name,
                    error=str(error),
                )
                continue
            return Restored(generation, shelf.name, older=generation < newest)
        return None

    async def forget(self, session: SessionId) -> None:
        """Remove every snapshot: the link is gone. Raises VaultAway if some may be left."""
        troubles: list[str] = []
        for shelf in self._shelves:
            try:
                await shelf.forget(session)
            except ShelfAway as away:
                troubles.append(str(away))
        if troubles:
            raise VaultAway("; ".join(troubles))

    async def look(self, *, verify: bool = False, progress: Advance = unseen) -> list[Found]:
        """List every snapshot; `verify` decrypts and unpacks each. Raises ShelfAway."""
        found: list[Found] = []
        async for shelf, session, generation, sealed in self._each(progress):
            found.append(self._about(shelf.name, session, generation, sealed, verify))
        return found

    async def newest(self, session: SessionId) -> tuple[int, bytes] | None:
        """Return the newest snapshot that verifies, still sealed. Raises NoKey and VaultAway."""
        for shelf, generation in await self._all(session, strict=True):
            try:
                sealed = await shelf.get(session, generation)
                if sealed is not None:
                    await asyncio.to_thread(self._open, sealed, session, generation)
                    return generation, sealed
            except (ShelfAway, Damaged):
                continue
        return None

    async def take_in(self, session: SessionId, sealed: bytes) -> Saved:
        """Put a snapshot from elsewhere on every shelf. Raises Damaged, NoKey and ShelfAway."""
        generation = read_header(sealed).generation
        await asyncio.to_thread(self._open, sealed, session, generation)
        for shelf in self._shelves:
            await shelf.put(session, generation, sealed)
        return Saved(generation, len(sealed), tuple(shelf.name for shelf in self._shelves))

    async def reseal(self, progress: Advance = unseen) -> int:
        """Encrypt anew, under the first key, what another key seals; return how many it was.

        Raises ShelfAway and NoKey. A damaged snapshot stays as it is.
        """
        done = 0
        async for shelf, session, _, sealed in self._each(progress):
            done += await self._renew(shelf, session, sealed)
        return done

    async def _each(self, progress: Advance) -> AsyncGenerator[tuple[Shelf, SessionId, int, bytes]]:
        """Give every snapshot there is, one at a time; tell of each once it was dealt with."""
        held = [
            (shelf, session, generation)
            for shelf in self._shelves
            for session in await shelf.sessions()
            for generation in await shelf.generations(session)
        ]
        for done, (shelf, session, generation) in enumerate(held, 1):
            # One may have given way to a newer one meanwhile.
            if (sealed := await shelf.get(session, generation)) is not None:
                yield shelf, session, generation, sealed
            progress(done, len(held))

    async def _renew(self, shelf: Shelf, session: SessionId, sealed: bytes) -> bool:
        try:
            header = read_header(sealed)
            if header.key_id == self._keys().first.id:
                return False
            packed = unseal(sealed, session, self._keys())
        except Damaged:
            return False
        again = seal(packed, session, header.generation, header.taken, self._keys())
        await shelf.put(session, header.generation, again)
        return True

    async def _all(self, session: SessionId, *, strict: bool = False) -> list[tuple[Shelf, int]]:
        """List shelves and generations, the newest first; `strict`: one shelf must answer."""
        found: list[tuple[Shelf, int]] = []
        troubles: list[str] = []
        for shelf in self._shelves:
            try:
                found += [(shelf, held) for held in await shelf.generations(session)]
            except ShelfAway as away:
                troubles.append(str(away))
        if strict and len(troubles) == len(self._shelves):
            raise VaultAway("; ".join(troubles))
        return sorted(found, key=lambda held: held[1], reverse=True)

    async def _thin(self, shelf: Shelf, session: SessionId) -> None:
        for generation in (await shelf.generations(session))[shelf.keep :]:
            await shelf.drop(session, generation)

    def _open(self, sealed: bytes, session: SessionId, generation: int) -> bytes:
        if read_header(sealed).generation != generation:
            raise Damaged("it lies under the number of another generation")
        return unseal(sealed, session, self._keys())

    def _about(
        self, source: Source, session: SessionId, generation: int, sealed: bytes, verify: bool
    ) -> Found:
        try:
            header = read_header(sealed)
        except Damaged as damaged:
            return Found(session, source, generation, len(sealed), None, None, str(damaged))
        fault = None
        if verify:
            try:
                self._open(sealed, session, generation)
            except (Damaged, NoKey) as error:
                fault = str(error)
        key = header.key_id.hex()
        return Found(session, source, generation, len(sealed), header.taken, key, fault)


def _replace(packed: bytes, profile: Path) -> None:
    """Unpack beside the profile, then change places: a crash leaves the old one or the new."""
    fresh = profile.with_name(f".{profile.name}.restored")
    archive.remove(fresh)
    archive.unpack(packed, fresh)
    if profile.exists():
        aside = profile.with_name(f".{profile.name}.damaged")
        archive.remove(aside)
        profile.rename(aside)
    fresh.rename(profile)
